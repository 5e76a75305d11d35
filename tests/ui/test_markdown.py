"""Markdown as models write it: math, footnotes, task lists, subscripts, rules; on the screen and in HTML."""

import pytest

from omniagent_cli.agent.events import TextDelta
from omniagent_cli.formats.writers.html.markdown import render_markdown as to_html
from omniagent_cli.ui.stream import StreamView
from tests.ui.screen import tty

TEXT = r"""
H<sub>2</sub>O, x<sup>2</sup>, y<sup>n+1</sup> and z<sub>Q</sub>[^1], but not <b>, [^a-z] or $HOME/$PATH.

- [ ] an open task
- [x] a task that is done
- plain

1. [x] the first

The energy:
$$
E = m c^2
  + \frac{1}{2}
$$
of \(a_1 * b_1\) and $p_x$, for $5 to $10:

\[ a = b \]

---

[^1]: The note with *emphasis*.
"""
SHOWN = r"""
H₂O, x², yⁿ⁺¹ and z_Q[1], but not <b>, [^a-z] or $HOME/$PATH.

 ☐ an open task
 ☑ a task that is done
 • plain

 1. ☑ the first

The energy:

    E = m c^2
      + \frac{1}{2}

of \(a_1 * b_1\) and $p_x$, for $5 to $10:

    a = b

────────────────────────────────────────────────────────────────────────────────

[1] The note with emphasis.
"""


def streamed(text, size, **environ):
    terminal, out, _ = tty(**environ)
    with StreamView(terminal) as view:
        for place in range(0, len(text), size):
            view.feed(TextDelta(text[place : place + size]))
    return out.shown


@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_an_answer_on_the_screen(size):
    """Boxes replace bullets, scripts are Unicode, math keeps its lines, notes hang; however the text arrives."""
    assert streamed(TEXT, size) == SHOWN.strip()


def test_ascii_screens_have_ascii_marks():
    """In the C locale tasks and scripts are drawn in ASCII."""
    shown = streamed(TEXT, 100, LC_ALL="C")
    assert "H_2O, x^2, y^(n+1) and z_Q[1]" in shown
    assert " [ ] an open task\n [x] a task that is done\n * plain" in shown
    assert "-" * 80 in shown
    assert shown.isascii()


def test_a_note_hangs_below_its_label():
    """The rows of a long footnote are indented by its label."""
    rows = streamed("[^10]: " + "words " * 30, 50).splitlines()
    assert rows[0].startswith("[10] words")
    assert {row[:9] for row in rows[1:]} == {"     word"}


def test_an_answer_in_html():
    """HTML has MathML with the source as its text alternative, check boxes, scripts and footnotes."""
    html = to_html(TEXT.strip())
    assert "H<sub>2</sub>O, x<sup>2</sup>, y<sup>n+1</sup> and z<sub>Q</sub><sup>[1]</sup>" in html
    assert "&lt;b&gt;, [^a-z] or $HOME/$PATH." in html
    assert html.count('type="checkbox"') == 3
    assert html.count('checked=""') == 2
    assert html.count("<math ") == 4
    assert html.count('display="block"') == 2
    assert r'alttext="E = m c^2&#10;  + \frac{1}{2}"' in html
    assert "<mfrac><mrow><mn>1</mn></mrow><mrow><mn>2</mn></mrow></mfrac>" in html
    assert "for $5 to $10:" in html
    assert '<div class="footnote" dir="auto"><sup>[1]</sup>\n<p dir="auto">The note' in html


@pytest.mark.parametrize(
    "source",
    [
        "a^b^c",
        r"\newcommand{\a}{\a\a}\a",
        r"\href{javascript:alert(1)}{x}",
        r"\style{x:y}{z}",
        "{" * 900,
        "x" * 3_000,
        r"\left(",
    ],
)
def test_math_that_is_not_converted_is_shown_as_source(source):
    """Invalid, unsafe and very long formulas appear as they were written."""
    html = to_html(f"\\[\n{source}\n\\]")
    assert html == f'<pre class="math">{source}</pre>\n'


def test_math_fences_are_math_in_html():
    """A code block of the language math is a formula, as on GitHub."""
    assert '<math xmlns="http' in to_html("```math\na^2\n```")


@pytest.mark.parametrize(
    "text",
    [
        "costs $5, sells at 10$.",
        "from US$ to CA$",
        "`$a$` and \\$b$",
        "$ a $",
        "US$20 or $30",
        "a\\\\)",
    ],
)
def test_dollars_that_are_not_math(text):
    """Prices, shell variables, code and escaped dollars are text."""
    assert "<math" not in to_html(text)


def test_a_definition_without_a_reference_is_kept():
    """A footnote that nothing refers to is shown."""
    assert "the lost note" in to_html("[^9]: the lost note")
    assert "the lost note" in streamed("[^9]: the lost note", 5)
