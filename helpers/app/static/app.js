// Makes the pages quicker: everything here also works without it, by plain forms.
"use strict";

const GROUP_FILES = 8, GROUP_BYTES = 24e6;
const ENDINGS = /\.(bmp|dib|png|jpe?g|jpe|jfif|tiff?)$/i;
const find = (selector, within = document) => within.querySelector(selector);
document.documentElement.classList.add("scripted");

// Send a form; the answer is a piece of page, or an error with a sentence.
async function post(address, body) {
  for (;;) {
    let answer;
    try {
      answer = await fetch(address, {method: "POST", body, headers: {"X-Part": "1"}});
    } catch {
      throw new Error("The app does not answer. Is it still running?");
    }
    const text = await answer.text();
    if (answer.ok) return [text, answer];
    if (answer.status != 429) throw new Error(text);
    await new Promise(goOn => setTimeout(goOn, 5000));  // too many images in a minute
  }
}

// ---- upload -------------------------------------------------------------------------

const upload = find("#upload"), said = find("#status"), progress = find("#progress");
let line = Promise.resolve();  // one upload after the other
let waiting = 0, answered = 0, failed = 0;

function tell() {
  progress.hidden = answered >= waiting || waiting < 2;
  progress.max = waiting;
  progress.value = answered;
  said.textContent = answered < waiting ? `${answered} of ${waiting} answered ...`
    : `${answered} of ${waiting} answered.` + (failed ? ` ${failed} could not be used.` : "");
}

function show(piece) {
  const results = find("#results"), cards = find("#cards"), head = find("h2", results);
  cards.insertAdjacentHTML("beforeend", piece);
  remember(cards);
  head.hidden = false;
  if (find("#ask").contains(document.activeElement)) find("#ask > summary").focus();
  find("#ask").open = false;
  const cells = [...cards.querySelectorAll(".card")].map(card => card.id.slice(5));
  history.replaceState(null, "", cells.length ? "/?cells=" + cells.slice(-200).join(",") : "/");
}

function refuse(name, sentence) {
  const section = document.createElement("section"), head = document.createElement("h3");
  const words = document.createElement("p");
  section.className = "result";
  words.className = "problem";
  head.textContent = name;
  words.textContent = sentence;
  section.append(head, words);
  show(section.outerHTML);
}

async function sendGroup(files, options) {
  const body = new FormData();
  for (const file of files) body.append("images", file, file.name.slice(-200)); // a longer name is refused
  for (const [name, value] of options) body.append(name, value);
  try {
    const [piece, answer] = await post("/", body);
    failed += Number(answer.headers.get("X-Refused"));
    show(piece);
  } catch (error) {
    failed += files.length;
    refuse(files.length == 1 ? files[0].name : `${files.length} files`, error.message);
  }
  answered += files.length;
  tell();
}

function send(files) {
  const most = Number(upload.dataset.bytes), groups = [];
  const chosen = files.filter(file => files.length == 1 || ENDINGS.test(file.name));
  if (!chosen.length) {
    said.textContent = "There is no image here: the app reads BMP, PNG, JPEG and TIFF.";
    return;
  }
  if (answered >= waiting) waiting = answered = failed = 0;
  waiting += chosen.length;
  for (const file of chosen) {
    const group = groups.at(-1);
    if (file.size > most) {
      refuse(file.name, `The file is larger than ${Math.round(most / 1e6)} MB.`);
      answered += 1;
      failed += 1;
    } else if (group && group.length < GROUP_FILES
        && group.reduce((sum, other) => sum + other.size, file.size) <= GROUP_BYTES) {
      group.push(file);
    } else {
      groups.push([file]);
    }
  }
  tell();
  const options = ["subject", "kind"].map(name => [name, upload.elements[name].value]);
  for (const group of groups) line = line.then(() => sendGroup(group, options));
}

// Files in what was dropped, also those in folders.
async function dropped(entry) {
  if (entry.isFile) return [await new Promise((take, stop) => entry.file(take, stop))];
  const reader = entry.createReader(), found = [];
  for (;;) {
    const some = await new Promise((take, stop) => reader.readEntries(take, stop));
    if (!some.length) return found;
    for (const other of some) found.push(...await dropped(other));
  }
}

if (upload) {
  const area = find(".drop");
  for (const input of upload.querySelectorAll("input[type=file]")) {
    input.addEventListener("change", () => {
      send([...input.files]);
      input.value = "";
    });
  }
  for (const name of ["dragover", "dragleave", "drop"]) {
    document.addEventListener(name, event => {
      event.preventDefault();
      area.classList.toggle("over", name == "dragover");
    });
  }
  document.addEventListener("drop", async event => {
    const given = event.dataTransfer, plain = [...given.files];
    const entries = [...given.items].map(item => item.webkitGetAsEntry()).filter(Boolean);
    send(entries.length ? (await Promise.all(entries.map(dropped))).flat() : plain);
  });
  document.addEventListener("paste", event => {
    const files = [...event.clipboardData.files];
    if (files.length) send(files);
  });
  upload.addEventListener("submit", event => {
    event.preventDefault();
    find("input[type=file]", upload).click();
  });
}

// ---- a cell -------------------------------------------------------------------------

// The reader's name is kept in this browser and filled in.
function remember(within) {
  const name = localStorage.getItem("reader");
  for (const input of within.querySelectorAll("input[name=reader]")) input.value ||= name ?? "";
}
remember(document);

document.addEventListener("submit", async event => {
  const form = event.target;
  if (!form.matches(".verify")) return;
  event.preventDefault();
  const body = new FormData(form, event.submitter);
  localStorage.setItem("reader", body.get("reader"));
  const chosen = event.submitter.value;
  try {
    const [piece] = await post(form.action, body);
    const parent = form.parentElement;
    form.outerHTML = piece;
    find(`.verify button[value="${CSS.escape(chosen)}"]`, parent).focus();
    remember(parent);
  } catch (error) {
    const words = find(".problem", form) || form.appendChild(document.createElement("p"));
    words.className = "problem";
    words.setAttribute("role", "alert");
    words.textContent = error.message;
  }
});

document.addEventListener("input", event => {
  if (!event.target.matches(".strength")) return;
  find(".map", event.target.closest(".looked")).style.opacity = event.target.value / 100;
});
