"use strict";
// Shared by the parts of the report. A file of this folder adds its function to `parts` under its own name.
const parts = {};

function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

function unpack(text, Type = Uint8Array) {  // inverse of `packed` in page.py
  const binary = atob(text), bytes = new Uint8Array(binary.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = binary.charCodeAt(i);
  return new Type(bytes.buffer);
}

const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function slider(label, options, onInput) {
  const input = h("input", { type: "range", "aria-label": label, ...options });
  input.addEventListener("input", () => onInput(Number(input.value)));
  return { input, element: h("label", { class: "control" }, h("span", {}, label), input) };
}

function save(name, pieces, type) {
  const link = h("a", { href: URL.createObjectURL(new Blob(pieces, { type })), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

// Two pictures on top of each other with a movable edge.
function compare(before, after, labels, ratio) {
  const edge = h("div", { class: "edge" });
  const box = h("div", { class: "compare checked", style: `aspect-ratio: ${ratio}; width: min(100%, ${(70 * ratio).toFixed(1)}vh)` },
    after, before, edge);
  const bar = slider(`${labels[0]} ↔ ${labels[1]}`, { min: 0, max: 100, value: 50 }, show);
  function show(value) {
    before.style.clipPath = `inset(0 ${100 - value}% 0 0)`;
    after.style.clipPath = `inset(0 0 0 ${value}%)`;  // it would show through a transparent image
    edge.style.left = value + "%";
    bar.input.value = value;
    bar.input.setAttribute("aria-valuetext", `${Math.round(value)} % ${labels[0]}`);
  }
  function follow(event) {
    const area = box.getBoundingClientRect();
    show(clamp(100 * (event.clientX - area.left) / area.width, 0, 100));
  }
  box.addEventListener("pointerdown", (event) => { box.setPointerCapture(event.pointerId); follow(event); });
  box.addEventListener("pointermove", (event) => { if (event.buttons) follow(event); });
  show(50);
  return h("div", {}, box, h("div", { class: "row" }, bar.element));
}
