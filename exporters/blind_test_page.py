"""A web page that asks a person whether each of a row of images is real or generated.

One HTML file that loads nothing: images, text, style and script are in it, and its content security policy forbids
connections. The answers' key is scrambled, so that the source does not show it at a glance.
"""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from exporters.visualization.contact_sheet import Scale


@dataclass(frozen=True)
class Question:
    """An image of the test.

    Args:
        image: (H, W, 3) uint8.
        is_real: Whether it is real.
        user: Its user, for the CSV file.
    """

    image: NDArray[np.uint8]
    is_real: bool
    user: int


def blind_test_html(
    questions: Sequence[Question], identifier: int, across: Scale | None = None, up: Scale | None = None
) -> str:
    """Return the page.

    Args:
        questions: The images in the order of the test.
        identifier: Number of this test, 1 … 2³² − 1: the browser keeps answers under it, and it scrambles the key.
        across: Values along the images' width; None draws none.
        up: Values along the images' height; None draws none.
    """
    content = {
        "id": identifier,
        "images": [_data_uri(question.image) for question in questions],
        "users": [question.user for question in questions],
        "key": scramble([question.is_real for question in questions], identifier),
        "across": across.ticks() if across else [],
        "up": up.ticks() if up else [],
    }
    text = json.dumps(content).replace("<", "\\u003c")  # ends no script element
    page = _PAGE.replace("%STYLE%", _STYLE).replace("%SCRIPT%", _SCRIPT)
    return page.replace("%COUNT%", html.escape(str(len(questions)))).replace("%DATA%", text)


def scramble(bits: Sequence[bool], seed: int) -> str:
    """Hide bits in the lowest bits of bytes that look random, as hexadecimal digits.

    Example:
        >>> unscramble(scramble([True, False, False], 7), 7)
        [True, False, False]
    """
    noise = np.random.default_rng(seed).integers(0, 128, len(bits)).tolist()
    bytes_ = [2 * high + bit for high, bit in zip(noise, bits, strict=True)]
    return bytes(byte ^ mask for byte, mask in zip(bytes_, _masks(seed, len(bits)), strict=True)).hex()


def unscramble(key: str, seed: int) -> list[bool]:
    """Inverse of `scramble`, as the page's script does it."""
    scrambled = bytes.fromhex(key)
    masks = _masks(seed, len(scrambled))
    return [bool((byte ^ mask) & 1) for byte, mask in zip(scrambled, masks, strict=True)]


def _masks(seed: int, count: int) -> list[int]:
    """Return bytes of Marsaglia's xorshift generator of 32 bits."""
    state, masks = seed & 0xFFFFFFFF, []
    for _ in range(count):
        state ^= (state << 13) & 0xFFFFFFFF
        state ^= state >> 17
        state ^= (state << 5) & 0xFFFFFFFF
        masks.append(state >> 8 & 255)
    return masks


def _data_uri(image: NDArray[np.uint8]) -> str:
    """Encode an image again, without the names and metadata of its file."""
    stream = BytesIO()
    Image.fromarray(image).save(stream, format="PNG")
    return f"data:image/png;base64,{base64.b64encode(stream.getvalue()).decode()}"


_STYLE = """
:root { color-scheme: light dark; --ink: #1c1c1e; --paper: #fff; --line: #c8c8cc; --accent: #1b5fa8; --soft: #f1f1f4; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #ececf0; --paper: #17181a; --line: #4a4b50; --accent: #8fc1ff; --soft: #26272b; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 1rem/1.45 system-ui, sans-serif; }
main { max-width: 34rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.4rem; margin: 0 0 .25rem; }
p { margin: .4rem 0; }
.plot { position: relative; margin: .8rem 0 2.2rem; padding-left: 3.4rem; }
.plot img { display: block; width: 100%; height: auto; border: 1px solid var(--line); }
.plot span { position: absolute; font-size: .8rem; white-space: nowrap; }
.up span { right: .4rem; transform: translateY(50%); }
.up { position: absolute; left: 0; top: 0; bottom: 0; width: 3.4rem; }
.across { position: absolute; left: 3.4rem; right: 0; top: 100%; }
.across span { top: .3rem; transform: translateX(-50%); }
.across span.last { transform: translateX(-100%); }
.choices { display: grid; grid-template-columns: 1fr 1fr; gap: .75rem; }
button { min-height: 3rem; padding: .4rem .8rem; border: 1px solid var(--line); border-radius: .5rem;
  background: var(--soft); color: inherit; font: inherit; cursor: pointer; }
.choices button { font-weight: 600; border-color: var(--accent); }
button:disabled { opacity: .45; cursor: default; }
button:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
.more { display: flex; flex-wrap: wrap; gap: .75rem; margin-top: .75rem; }
kbd { font: .85em ui-monospace, monospace; border: 1px solid var(--line); border-radius: .25rem; padding: 0 .3rem; }
progress { width: 100%; accent-color: var(--accent); }
.accuracy { font-size: 1.6rem; font-weight: 600; margin: .6rem 0 0; }
table { border-collapse: collapse; margin: .6rem 0; }
td, th { padding: .25rem .8rem .25rem 0; text-align: left; }
[hidden] { display: none !important; }
"""

_SCRIPT = """
"use strict";
const test = JSON.parse(document.getElementById("data").textContent);
const count = test.images.length, place = "blind-test-" + test.id, Z = 1.959964;
const element = (id) => document.getElementById(id);
let answers = [], seconds = [], shownAt = 0;

function load() {
  try {
    const kept = JSON.parse(localStorage.getItem(place) || "{}");
    if (Array.isArray(kept.answers) && kept.answers.every((a) => a === "real" || a === "generated")) {
      answers = kept.answers.slice(0, count);
      seconds = answers.map((_, i) => Number((kept.seconds || [])[i]) || 0);
    }
  } catch (error) { answers = []; seconds = []; }  // no storage, as in a private window
}
function keep() {
  try { localStorage.setItem(place, JSON.stringify({ answers, seconds })); } catch (error) { /* see load */ }
}
function truths() {
  let state = test.id >>> 0;
  return Array.from({ length: count }, (_, i) => {
    state ^= state << 13; state ^= state >>> 17; state ^= state << 5;
    const byte = parseInt(test.key.slice(2 * i, 2 * i + 2), 16) ^ (state >>> 8 & 255);
    return byte & 1 ? "real" : "generated";
  });
}
function interval(right, total) {  // Wilson's, of 95 %
  const p = right / total, d = 1 + Z * Z / total, middle = (p + Z * Z / (2 * total)) / d;
  const half = Z * Math.sqrt(p * (1 - p) / total + Z * Z / (4 * total * total)) / d;
  return [Math.max(0, middle - half), Math.min(1, middle + half)];
}
const percent = (share) => (100 * share).toFixed(0) + "\\u00a0%";

function answer(kind) {
  if (answers.length >= count) return;
  seconds.push(Math.round((performance.now() - shownAt) / 100) / 10);
  answers.push(kind);
  keep(); show();
}
function back() {
  if (!answers.length) return;
  answers.pop(); seconds.pop();
  keep(); show();
}
function again() {
  if (!confirm("Delete all answers and start again?")) return;
  answers = []; seconds = [];
  keep(); show();
}
function show() {
  const done = answers.length >= count;
  element("question").hidden = done;
  element("result").hidden = !done;
  element("back").disabled = element("csv").disabled = !answers.length;
  element("bar").value = answers.length;
  element("progress").textContent = done ? "All " + count + " images are answered."
    : "Image " + (answers.length + 1) + " of " + count;
  if (done) return showResult();
  element("image").src = test.images[answers.length];
  shownAt = performance.now();
}
function showResult() {
  const truth = truths(), right = answers.filter((a, i) => a === truth[i]).length;
  const [low, high] = interval(right, count);
  element("accuracy").textContent = percent(right / count) + " right (" + right + " of " + count + ")";
  element("interval").textContent = "95\\u00a0% confidence interval: " + percent(low) + " to " + percent(high) +
    " (Wilson). Guessing: 50\\u00a0%.";
  element("verdict").textContent = low > 0.5 ? "The generated images were recognised more often than by guessing."
    : high < 0.5 ? "The answers are worse than guessing: differences were seen, but taken the wrong way."
    : "These answers do not show a difference between real and generated images.";
  for (const kind of ["real", "generated"]) {
    const own = answers.filter((_, i) => truth[i] === kind);
    element("of-" + kind).textContent = own.filter((a) => a === "real").length + " of " + own.length;
  }
}
function download() {
  const truth = truths(), lines = ["number,user,truth,answer,correct,seconds"];
  answers.forEach((a, i) => {
    lines.push([i + 1, test.users[i], truth[i], a, a === truth[i] ? 1 : 0, seconds[i]].join(","));
  });
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([lines.join("\\n") + "\\n"], { type: "text/csv" }));
  link.download = "blind_test_answers.csv";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}
function label(parent, ticks, side) {
  ticks.forEach(([share, text], i) => {
    const span = document.createElement("span");
    span.textContent = text;
    span.style[side] = 100 * share + "%";
    if (side === "left" && i === ticks.length - 1 && share > 0.85) span.className = "last";
    element(parent).append(span);
  });
}
label("up", test.up, "bottom");
label("across", test.across, "left");
element("real").addEventListener("click", () => answer("real"));
element("generated").addEventListener("click", () => answer("generated"));
element("back").addEventListener("click", back);
element("again").addEventListener("click", again);
element("csv").addEventListener("click", download);
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  const action = { r: () => answer("real"), g: () => answer("generated"), b: back }[event.key.toLowerCase()];
  if (action) { event.preventDefault(); action(); }
});
load(); show();
"""

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
  content="default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<title>Real or generated?</title>
<style>%STYLE%</style>
</head>
<body>
<main>
<h1>Real or generated?</h1>
<p>%COUNT% spectrograms of walking people, half of them generated by a model. The result is shown at the end.</p>
<p id="progress" role="status"></p>
<progress id="bar" max="%COUNT%" value="0" aria-label="Images answered"></progress>
<section id="question">
<div class="plot">
<div class="up" id="up"></div><img id="image" alt="Spectrogram"><div class="across" id="across"></div>
</div>
<div class="choices">
<button id="real" type="button">Real <kbd>R</kbd></button>
<button id="generated" type="button">Generated <kbd>G</kbd></button>
</div>
</section>
<section id="result" aria-live="polite" hidden>
<p class="accuracy" id="accuracy"></p>
<p id="interval"></p>
<p id="verdict"></p>
<table>
<tr><th scope="row">Real images called real</th><td id="of-real"></td></tr>
<tr><th scope="row">Generated images called real</th><td id="of-generated"></td></tr>
</table>
<button id="again" type="button">Start again</button>
</section>
<div class="more">
<button id="back" type="button">Back <kbd>B</kbd></button>
<button id="csv" type="button">Download answers (CSV)</button>
</div>
</main>
<script type="application/json" id="data">%DATA%</script>
<script>%SCRIPT%</script>
</body>
</html>
"""
