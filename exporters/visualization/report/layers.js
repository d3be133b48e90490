// Layers of an image: before and after, the stack pulled apart, layers moved, hidden and reordered, and saved again.
parts.layers = async function (root, data) {
  const { width, height } = data, ratio = width / height;
  const start = () => data.layers.map((layer, number) => ({ ...layer, number, dx: 0, dy: 0, visible: true }));
  const bytes = data.layers.map((layer) => unpack(layer.png));
  const images = data.layers.map((layer) => h("img", { src: "data:image/png;base64," + layer.png }));
  root.append(h("p", { class: "hint" }, "Loading layers …"));
  await Promise.all(images.map((image) => image.complete || new Promise((resolve, reject) => {
    image.addEventListener("load", resolve);
    image.addEventListener("error", () => reject(new Error("a layer cannot be shown")));
  })));
  const canvases = images.map((image) => {
    const canvas = h("canvas", { width: image.naturalWidth, height: image.naturalHeight });
    canvas.getContext("2d", { willReadFrequently: true }).drawImage(image, 0, 0);
    return canvas;
  });
  let stack = start(), chosen = stack.length - 1, apart = 0, turn = -32, tilt = 58;

  function composed() {
    const canvas = h("canvas", { width, height }), context = canvas.getContext("2d");
    for (const layer of stack) {
      if (layer.visible) context.drawImage(canvases[layer.number], layer.x + layer.dx, layer.y + layer.dy);
    }
    return canvas;
  }

  // --- before and after ---
  const before = composed(), after = h("img", { src: data.colours, alt: "Layer order in colours", draggable: "false" });
  before.setAttribute("aria-label", "The image");
  const legend = h("p", { class: "hint" }, "Left the image, right the layer order: dark is the background, bright the foremost layer.");

  // --- the stack ---
  const pile = h("div", { class: "pile", style: `aspect-ratio: ${ratio}` });
  const stage = h("div", {
    class: "stage checked", tabindex: 0, role: "application", style: `aspect-ratio: ${ratio}; max-width: ${(75 * ratio).toFixed(1)}vh`,
    "aria-label": "Layers. Arrow keys move the chosen layer; while the layers are apart, they turn the stack.",
  }, pile);
  const list = h("ul", { class: "layer-list", "aria-label": "Layers, the foremost first" });
  const status = h("p", { class: "hint", role: "status" });
  const sheets = data.layers.map((layer, number) => {
    const image = images[number];
    image.alt = layer.name;
    image.draggable = false;
    image.style.cssText = `left:${100 * layer.x / width}%;top:${100 * layer.y / height}%;` +
      `width:${100 * image.naturalWidth / width}%;height:${100 * image.naturalHeight / height}%`;
    return h("div", { class: "sheet" }, image);
  });
  pile.append(...sheets);

  function draw() {
    const side = stage.clientWidth, tall = side / ratio, share = apart / 100;
    stage.style.aspectRatio = 1 / (1 / ratio + share * Math.max(0, 0.75 - 1 / ratio));  // a wide pile needs a higher stage
    const a = share * turn * Math.PI / 180, b = share * tilt * Math.PI / 180, spread = share * 0.4 * (side + tall);
    const across = side * Math.abs(Math.cos(a)) + tall * Math.abs(Math.sin(a));
    const up = (side * Math.abs(Math.sin(a)) + tall * Math.abs(Math.cos(a))) * Math.cos(b) + spread * Math.sin(b);
    const fit = 1 / Math.max(1, across / side * (1 + 0.08 * share), up / stage.clientHeight * (1 + 0.08 * share));
    pile.style.transform = `scale3d(${fit}, ${fit}, ${fit}) rotateX(${tilt * share}deg) rotateZ(${turn * share}deg)`;
    stage.classList.toggle("apart", apart > 0);
    const gap = Math.max(0.05, spread / Math.max(1, stack.length - 1));  // coplanar sheets could flicker
    stack.forEach((layer, place) => {
      const sheet = sheets[layer.number];
      sheet.style.display = layer.visible ? "" : "none";
      sheet.style.zIndex = place;
      sheet.style.transform = `translate3d(${layer.dx / width * side}px, ${layer.dy / height * tall}px, ` +
        `${((place - (stack.length - 1) / 2) * gap).toFixed(1)}px)`;
      sheet.classList.toggle("chosen", place === chosen);
    });
  }
  const rows = data.layers.map((layer, number) => {
    const place = () => stack.findIndex((other) => other.number === number);
    const canvas = h("canvas", { width: 96, height: 96, class: "checked", "aria-hidden": "true" });
    const { naturalWidth: w, naturalHeight: t } = images[number], scale = Math.min(96 / w, 96 / t, 8);
    canvas.getContext("2d").drawImage(canvases[number], 48 - w * scale / 2, 48 - t * scale / 2, w * scale, t * scale);
    const box = h("input", { type: "checkbox", checked: true, "aria-label": `Show ${layer.name}`, onchange: () => {
      stack[place()].visible = box.checked;
      say(`${layer.name} ${box.checked ? "shown" : "hidden"}`);
      draw();
    } });
    const name = h("button", { type: "button", class: "name", onclick: () => choose(place()) }, layer.name);
    const up = h("button", { type: "button", class: "small", "aria-label": `Move ${layer.name} up`, onclick: () => move(place(), 1, up) }, "▲");
    const down = h("button", { type: "button", class: "small", "aria-label": `Move ${layer.name} down`, onclick: () => move(place(), -1, down) }, "▼");
    return { element: h("li", {}, box, canvas, name, up, down), box, up, down, name };
  });
  function drawList() {
    stack.forEach((layer, place) => {
      const row = rows[layer.number];
      list.prepend(row.element);
      row.element.classList.toggle("chosen", place === chosen);
      row.name.setAttribute("aria-pressed", place === chosen);
      row.up.disabled = place === stack.length - 1;
      row.down.disabled = place === 0;
      row.box.checked = layer.visible;
    });
  }
  function say(text) { status.textContent = text; }
  function refresh() { draw(); drawList(); }
  function choose(place) { chosen = place; say(`${stack[place].name} chosen`); refresh(); }
  function move(place, step, button) {
    const to = place + step;
    if (to < 0 || to >= stack.length) return;
    [stack[place], stack[to]] = [stack[to], stack[place]];
    chosen = to;
    say(`${stack[to].name} is now ${to + 1} of ${stack.length} from below`);
    refresh();
    (button.disabled ? rows[stack[to].number].name : button).focus();
  }
  function hit(event) {  // the foremost visible layer that is painted below the pointer
    const area = stage.getBoundingClientRect();
    const x = (event.clientX - area.left) / area.width * width, y = (event.clientY - area.top) / area.height * height;
    for (let place = stack.length - 1; place >= 0; place--) {
      const layer = stack[place], canvas = canvases[layer.number];
      const column = Math.floor(x - layer.x - layer.dx), row = Math.floor(y - layer.y - layer.dy);
      if (!layer.visible || column < 0 || row < 0 || column >= canvas.width || row >= canvas.height) continue;
      if (canvas.getContext("2d").getImageData(column, row, 1, 1).data[3] > 25) return place;
    }
    return -1;
  }
  let grip = null;
  stage.addEventListener("pointerdown", (event) => {
    stage.setPointerCapture(event.pointerId);
    if (apart) grip = { x: event.clientX, y: event.clientY, turn, tilt };
    else {
      const place = hit(event);
      if (place < 0) return;
      choose(place);
      grip = { x: event.clientX, y: event.clientY, dx: stack[place].dx, dy: stack[place].dy };
    }
  });
  stage.addEventListener("pointermove", (event) => {
    if (!grip) return;
    const right = event.clientX - grip.x, below = event.clientY - grip.y;
    if (apart) {
      turn = grip.turn + right / 3;
      tilt = clamp(grip.tilt - below / 3, 5, 85);
    } else {
      stack[chosen].dx = Math.round(grip.dx + right * width / stage.clientWidth);
      stack[chosen].dy = Math.round(grip.dy + below * height / stage.clientHeight);
    }
    draw();
  });
  for (const name of ["pointerup", "pointercancel"]) stage.addEventListener(name, () => { grip = null; });
  stage.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (!step) return;
    event.preventDefault();
    const many = event.shiftKey ? 10 : 1;
    if (apart) {
      turn += 3 * step[0] * many;
      tilt = clamp(tilt - 3 * step[1] * many, 5, 85);
    } else {
      stack[chosen].dx += step[0] * many;
      stack[chosen].dy += step[1] * many;
      say(`${stack[chosen].name} moved to ${stack[chosen].dx}, ${stack[chosen].dy}`);
    }
    draw();
  });
  const pull = slider("Pull apart", { min: 0, max: 100, value: 0 }, (value) => { apart = value; draw(); });
  const buttons = [
    h("button", { type: "button", onclick: () => { stack = start(); chosen = stack.length - 1; say("as predicted"); refresh(); } }, "Reset"),
    h("button", { type: "button", onclick: () => saveOpenRaster() }, "Save ORA"),
    h("button", { type: "button", onclick: () => savePhotoshop() }, "Save PSD"),
    h("button", { type: "button", onclick: () => saveDrawing() }, "Save SVG"),
  ];
  root.replaceChildren(
    h("h3", {}, "Before and after"), compare(before, after, ["image", "layer order"], ratio), legend,
    h("h3", {}, `${stack.length} layers`),
    h("div", { class: "row" }, pull.element, ...buttons),
    h("div", { class: "stack-view" }, stage, h("div", {}, list, status)),
    h("p", { class: "hint" }, "Drag a layer to move it; pull the layers apart, then drag to turn the stack. ▲ and ▼ correct the order. " +
      "Save keeps order, positions and visibility." + (data.reduced ? ` ${data.reduced}` : "")),
  );
  refresh();
  new ResizeObserver(() => setTimeout(draw)).observe(stage);

  // --- files ---
  const png = (canvas) => unpack(canvas.toDataURL("image/png").split(",")[1]);
  function openRaster() {
    const escaped = (text) => text.replace(/[<>&"]/g, (c) => `&#${c.charCodeAt(0)};`);
    const merged = composed(), scale = Math.min(1, 256 / Math.max(width, height));
    const thumbnail = h("canvas", { width: Math.max(1, Math.round(width * scale)), height: Math.max(1, Math.round(height * scale)) });
    thumbnail.getContext("2d").drawImage(merged, 0, 0, thumbnail.width, thumbnail.height);
    const files = [["mimetype", new TextEncoder().encode("image/openraster")]], lines = [];
    stack.forEach((layer, place) => {
      const path = `data/layer${String(place).padStart(2, "0")}.png`;
      files.push([path, bytes[layer.number]]);
      lines.unshift(`<layer name="${escaped(layer.name)}" src="${path}" x="${layer.x + layer.dx}" y="${layer.y + layer.dy}" ` +
        `opacity="1.0" visibility="${layer.visible ? "visible" : "hidden"}" composite-op="svg:src-over"/>`);
    });
    const xml = `<?xml version="1.0" encoding="UTF-8"?>\n<image version="0.0.5" w="${width}" h="${height}"><stack>${lines.join("")}</stack></image>`;
    files.push(["stack.xml", new TextEncoder().encode(xml)], ["mergedimage.png", png(merged)], ["Thumbnails/thumbnail.png", png(thumbnail)]);
    return zip(files);
  }
  function drawing() {
    const namespace = "http://www.w3.org/2000/svg", inkscape = "http://www.inkscape.org/namespaces/inkscape";
    const page = new DOMParser().parseFromString(data.svg || `<svg xmlns="${namespace}" xmlns:inkscape="${inkscape}" version="1.1" ` +
      `width="${width}" height="${height}" viewBox="0 0 ${width} ${height}"/>`, "image/svg+xml");
    const groups = data.layers.map((layer, number) => {
      if (data.svg) return page.getElementById(`layer-${number + 1}`);
      const group = page.createElementNS(namespace, "g"), image = page.createElementNS(namespace, "image");
      group.setAttribute("id", `layer-${number + 1}`);
      group.setAttributeNS(inkscape, "inkscape:groupmode", "layer");
      group.setAttributeNS(inkscape, "inkscape:label", layer.name);
      for (const [name, value] of Object.entries({ x: layer.x, y: layer.y, width: canvases[number].width, height: canvases[number].height })) {
        image.setAttribute(name, value);
      }
      image.setAttribute("href", "data:image/png;base64," + layer.png);
      group.append(image);
      return group;
    });
    for (const layer of stack) {
      const group = groups[layer.number];
      if (layer.dx || layer.dy) {
        group.setAttribute("transform", `translate(${layer.dx},${layer.dy}) ${group.getAttribute("transform") || ""}`.trim());
      }
      if (!layer.visible) group.setAttribute("display", "none");
      page.documentElement.append(group);
    }
    return new XMLSerializer().serializeToString(page);
  }
  function photoshop() {
    const out = [], text = (string) => Uint8Array.from(string, (c) => c.charCodeAt(0));
    const number = (value, size) => { const b = new Uint8Array(size); for (let i = size - 1; i >= 0; i--, value = Math.floor(value / 256)) b[i] = value & 255; return b; };
    const signed = (value) => number(value < 0 ? value + 2 ** 32 : value, 4);
    const records = [], channels = [];
    for (const layer of stack) {
      const canvas = canvases[layer.number], w = canvas.width, t = canvas.height, x = layer.x + layer.dx, y = layer.y + layer.dy;
      const pixels = canvas.getContext("2d").getImageData(0, 0, w, t).data;
      const coded = [3, 0, 1, 2].map((channel) => packBits(pixels, channel, w, t, 4));
      const name = new TextEncoder().encode(layer.name.replace(/[^\x20-\x7e]/g, "?")).slice(0, 255);
      const short = joined([number(name.length, 1), name, new Uint8Array((4 - (name.length + 1) % 4) % 4)]);
      const long = joined([number(layer.name.length, 4), ...Array.from({ length: layer.name.length }, (_, i) => number(layer.name.charCodeAt(i), 2))]);
      const padded = joined([long, new Uint8Array((4 - long.length % 4) % 4)]);
      const extra = joined([number(0, 4), number(0, 4), short, text("8BIMluni"), number(padded.length, 4), padded]);
      records.push(signed(y), signed(x), signed(y + t), signed(x + w), number(4, 2));
      [65535, 0, 1, 2].forEach((id, place) => records.push(number(id, 2), number(coded[place].length, 4)));
      records.push(text("8BIMnorm"), number(255, 1), number(0, 1), number(layer.visible ? 8 : 10, 1), number(0, 1), number(extra.length, 4), extra);
      channels.push(...coded);
    }
    let information = joined([number(65536 - stack.length, 2), ...records, ...channels]);
    if (information.length % 2) information = joined([information, new Uint8Array(1)]);
    const flat = composed().getContext("2d").getImageData(0, 0, width, height).data, planes = [];
    for (let channel = 0; channel < 4; channel++) {
      const plane = new Uint8Array(width * height);
      for (let i = 0; i < plane.length; i++) {
        const alpha = flat[4 * i + 3];
        plane[i] = channel === 3 ? alpha : Math.round((flat[4 * i + channel] * alpha + 255 * (255 - alpha)) / 255);
      }
      planes.push(plane);
    }
    out.push(text("8BPS"), number(1, 2), new Uint8Array(6), number(4, 2), number(height, 4), number(width, 4), number(8, 2), number(3, 2));
    out.push(number(0, 4), number(0, 4), number(information.length + 8, 4), number(information.length, 4), information, number(0, 4));
    out.push(number(0, 2), ...planes);
    return joined(out);
  }
  const name = data.name.replace(/[^\w.-]+/g, "_") + "_corrected";
  function saveOpenRaster() { save(`${name}.ora`, [openRaster()], "image/openraster"); say("ORA saved"); }
  function savePhotoshop() { save(`${name}.psd`, [photoshop()], "image/vnd.adobe.photoshop"); say("PSD saved"); }
  function saveDrawing() { save(`${name}.svg`, [drawing()], "image/svg+xml"); say("SVG saved"); }
  root.files = { openRaster, photoshop, drawing };  // for tests
};

function joined(pieces) {
  const all = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
  let place = 0;
  for (const piece of pieces) { all.set(piece, place); place += piece.length; }
  return all;
}

// One channel of interleaved pixels in PackBits, row by row, as PSD stores it.
function packBits(pixels, channel, width, height, stride) {
  const lengths = new Uint8Array(2 + 2 * height), rows = [];
  lengths[1] = 1;  // compression: run lengths
  for (let y = 0; y < height; y++) {
    const at = (x) => pixels[(y * width + x) * stride + channel], row = [];
    for (let x = 0; x < width;) {
      let run = 1;
      while (run < 128 && x + run < width && at(x + run) === at(x)) run++;
      if (run > 2) { row.push(257 - run, at(x)); x += run; continue; }
      const first = x;
      while (x < width && x - first < 128 && !(x + 2 < width && at(x) === at(x + 1) && at(x) === at(x + 2))) x++;
      row.push(x - first - 1);
      for (let i = first; i < x; i++) row.push(at(i));
    }
    lengths[2 + 2 * y] = row.length >> 8;
    lengths[3 + 2 * y] = row.length & 255;
    rows.push(Uint8Array.from(row));
  }
  return joined([lengths, ...rows]);
}

// A zip of stored entries, without compression.
function zip(files) {
  const table = Uint32Array.from({ length: 256 }, (_, n) => { for (let k = 0; k < 8; k++) n = n & 1 ? (n >>> 1) ^ 0xedb88320 : n >>> 1; return n >>> 0; });
  const crc = (data) => { let c = 0xffffffff; for (const byte of data) c = table[(c ^ byte) & 255] ^ (c >>> 8); return (c ^ 0xffffffff) >>> 0; };
  const fields = (...pairs) => {
    const view = new DataView(new ArrayBuffer(pairs.reduce((sum, [, size]) => sum + size, 0)));
    let place = 0;
    for (const [value, size] of pairs) { if (size === 2) view.setUint16(place, value, true); else view.setUint32(place, value, true); place += size; }
    return new Uint8Array(view.buffer);
  };
  const entries = [], directory = [];
  let offset = 0;
  for (const [path, content] of files) {
    const name = new TextEncoder().encode(path);
    const common = [[20, 2], [0, 2], [0, 2], [0, 2], [33, 2], [crc(content), 4], [content.length, 4], [content.length, 4], [name.length, 2], [0, 2]];
    const entry = joined([fields([0x04034b50, 4], ...common), name, content]);
    directory.push(joined([fields([0x02014b50, 4], [20, 2], ...common, [0, 2], [0, 2], [0, 2], [0, 4], [offset, 4]), name]));
    entries.push(entry);
    offset += entry.length;
  }
  const size = directory.reduce((sum, piece) => sum + piece.length, 0);
  return joined([...entries, ...directory, fields([0x06054b50, 4], [0, 2], [0, 2], [files.length, 2], [files.length, 2], [size, 4], [offset, 4], [0, 2])]);
}
