/* Turns the quiz of a chapter into questions that one can answer on the page.

In the notebook a question is a bold paragraph, a list whose items begin with "A: ", and a
folded answer that begins with the right letter. It stays like that without this script, in
print and on Colab. */

document.addEventListener("DOMContentLoaded", () => {
  document.querySelectorAll("section[id^='quiz'] details").forEach((answer, index) => {
    const list = answer.previousElementSibling;
    const question = list?.previousElementSibling;
    const right = answer.querySelector("summary ~ *")?.textContent.trim()[0];
    if (list?.tagName !== "UL" || !question || !right) return;

    const form = document.createElement("fieldset");
    form.className = "quiz";
    const legend = document.createElement("legend");
    legend.append(...question.cloneNode(true).childNodes);
    const feedback = document.createElement("p");
    feedback.setAttribute("role", "status");
    form.append(legend);
    for (const item of list.children) {
      const letter = item.textContent.trim()[0];
      const choice = document.createElement("label");
      const button = Object.assign(document.createElement("input"), {
        type: "radio", name: `quiz-${index}`, value: letter,
      });
      button.addEventListener("change", () => {
        const correct = letter === right;
        feedback.className = correct ? "right" : "wrong";
        feedback.textContent = correct
          ? `Yes, ${letter} is right. The reason is below.`
          : `No, ${letter} is not right. Think again, or read the answer below.`;
        if (correct) answer.open = true;
      });
      const words = document.createElement("span");
      const text = item.children.length === 1 && item.firstElementChild.tagName === "P"
        ? item.firstElementChild : item;
      words.append(...text.cloneNode(true).childNodes);
      choice.append(button, words);
      form.append(choice);
    }
    form.append(feedback);
    question.replaceWith(form);
    list.classList.add("quiz-list");  // print shows the list, the screen the buttons
  });
});
