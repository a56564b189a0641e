"""The quiz of each chapter: by keyboard, for screen readers, without JavaScript, in print."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.slow
QUIZ = "section[id^='quiz']"


def test_each_chapter_asks_four_questions_with_one_right_answer(open_page, chapters):
    for name in chapters:
        page = open_page(name).page
        questions = page.locator(f"{QUIZ} fieldset.quiz")
        assert questions.count() == 4, name
        answers = page.locator(f"{QUIZ} details")
        assert answers.count() == 4, name
        for index in range(4):
            letters = (
                questions.nth(index).locator("input").evaluate_all("all => all.map(i => i.value)")
            )
            assert letters == list("ABCDEF")[: len(letters)], f"{name}: question {index + 1}"
            text = answers.nth(index).evaluate("e => e.querySelector('summary ~ *').textContent")
            assert text.strip()[0] in letters, f"{name}: answer {index + 1}"
            assert not answers.nth(index).evaluate("e => e.open"), f"{name}: answer {index + 1}"


def test_the_keyboard_answers_and_the_feedback_is_announced(open_page, chapters):
    page = open_page(chapters[0]).page
    question = page.locator("fieldset.quiz").first
    answer = page.locator(f"{QUIZ} details").first
    right = answer.evaluate("e => e.querySelector('summary ~ *').textContent.trim()[0]")
    choices = question.locator("input")
    status = question.get_by_role("status")
    choices.first.focus()
    page.keyboard.press("Space")
    for index in range(choices.count()):
        letter = choices.nth(index).get_attribute("value")
        assert choices.nth(index).is_checked()
        if letter == right:
            assert status.inner_text().startswith(f"Yes, {letter} is right")
            assert answer.evaluate("e => e.open")
            return
        assert status.inner_text().startswith(f"No, {letter} is not right")
        assert not answer.evaluate("e => e.open")
        page.keyboard.press("ArrowDown")
    pytest.fail(f"the right answer {right} is no choice")


def test_without_javascript_and_in_print_the_choices_are_a_list(
    chromium, site, chapters, open_page
):
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{site}/{chapters[0]}")
    assert page.locator("fieldset.quiz").count() == 0
    assert page.locator(f"{QUIZ} ul").first.is_visible()
    assert page.locator(f"{QUIZ} summary").first.is_visible()
    context.close()

    page = open_page(chapters[0]).page
    assert not page.locator("ul.quiz-list").first.is_visible()
    page.emulate_media(media="print")
    assert page.locator("ul.quiz-list").first.is_visible()
    assert page.locator("fieldset.quiz legend").first.is_visible()
    assert not page.locator("fieldset.quiz input").first.is_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_in_a_quiz_answered_right_or_wrong(open_page, chapters, axe, scheme):
    page = open_page(chapters[0], scheme=scheme).page
    page.evaluate(axe)
    for place in ("first", "last"):
        for question in page.locator("fieldset.quiz").all():
            getattr(question.locator("input"), place).check()
        found = page.evaluate(f"() => axe.run({QUIZ!r})".replace("'quiz'", "quiz"))
        faults = [(fault["id"], fault["impact"], fault["nodes"][0]["html"][:160])
                  for fault in found["violations"]]  # fmt: skip
        assert not faults
