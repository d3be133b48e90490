// Depth and cameras of a scene: point clouds that are turned together, and depth maps with the value under the pointer.
parts.scene = function (root, data) {
  const views = data.views.map((view) => view.name), depthText = (value) => value.toPrecision(4);
  const pose = { yaw: 25, pitch: 20, zoom: 1, right: 0, down: 0 };
  let due = 0;
  function drawAll() {  // at most once in 16 ms
    due ||= setTimeout(() => { due = 0; clouds.forEach((cloud) => cloud.draw()); }, 16);
  }
  const nudge = (change) => { Object.assign(pose, change); pose.pitch = clamp(pose.pitch, -89, 89); pose.zoom = clamp(pose.zoom, 0.2, 20); drawAll(); };
  const button = (label, change, text) => h("button", { type: "button", class: "small", "aria-label": label, onclick: () => nudge(change()) }, text);
  const cameras = h("input", { type: "checkbox", checked: true, "aria-label": "Show cameras", onchange: drawAll });
  const few = Math.max(...data.clouds.map((cloud) => cloud.ends.at(-1)));
  const pointSize = slider("Point size", { min: 1, max: 8, value: few < 12000 ? 5 : few < 24000 ? 4 : 3 }, drawAll);

  const clouds = data.clouds.map((cloud) => makeCloud(cloud));

  function makeCloud(cloud) {
    const positions = unpack(cloud.positions, Int16Array), colours = unpack(cloud.colours), count = colours.length / 3;
    const canvas = h("canvas", { class: "view3d", tabindex: 0, role: "img",
      "aria-label": `${cloud.title}, ${count} points. Arrow keys turn it, plus and minus zoom.` });
    const readout = h("p", { class: "readout", "aria-live": "polite" }, "Point at the cloud for depth.");
    let found = new Int32Array(0), wide = 0, tall = 0;
    const viewOf = (point) => cloud.ends.findIndex((end) => point < end);
    const world = (point) => [0, 1, 2].map((axis) => positions[3 * point + axis] * cloud.scale + data.centre[axis]);

    function matrix() {  // rows: right, down, forward of the viewer, in OpenCV's axes
      const a = pose.yaw * Math.PI / 180, b = pose.pitch * Math.PI / 180, start = data.look;
      const turned = [[Math.cos(a), 0, Math.sin(a)], [Math.sin(a) * Math.sin(b), Math.cos(b), -Math.cos(a) * Math.sin(b)], [-Math.sin(a) * Math.cos(b), Math.sin(b), Math.cos(a) * Math.cos(b)]];
      return turned.map((row) => [0, 1, 2].map((k) => row[0] * start[0][k] + row[1] * start[1][k] + row[2] * start[2][k]));
    }
    function draw() {
      const sharp = Math.min(2, devicePixelRatio || 1);
      wide = Math.max(1, Math.round(canvas.clientWidth * sharp));
      tall = Math.max(1, Math.round(wide * 0.75));
      if (canvas.width !== wide || canvas.height !== tall) { canvas.width = wide; canvas.height = tall; }
      const context = canvas.getContext("2d"), picture = context.createImageData(wide, tall);
      const pixels = new Uint32Array(picture.data.buffer), nearest = new Float32Array(wide * tall).fill(Infinity);
      found = new Int32Array(wide * tall).fill(-1);
      pixels.fill(0);
      const m = matrix(), away = 3 * data.radius, focal = 1.2 * wide * pose.zoom, size = Math.max(1, Math.round(pointSize.input.value * sharp * Math.sqrt(pose.zoom) / 1.4));
      const half = size >> 1, x0 = wide / 2 + pose.right * wide, y0 = tall / 2 + pose.down * wide, s = cloud.scale;
      for (let i = 0; i < count; i++) {
        const X = positions[3 * i] * s, Y = positions[3 * i + 1] * s, Z = positions[3 * i + 2] * s;
        const depth = m[2][0] * X + m[2][1] * Y + m[2][2] * Z + away;
        if (depth < 0.05 * data.radius) continue;
        const left = Math.round(x0 + focal * (m[0][0] * X + m[0][1] * Y + m[0][2] * Z) / depth) - half;
        const top = Math.round(y0 + focal * (m[1][0] * X + m[1][1] * Y + m[1][2] * Z) / depth) - half;
        if (left < 0 || top < 0 || left + size > wide || top + size > tall) continue;
        const value = 0xff000000 | colours[3 * i + 2] << 16 | colours[3 * i + 1] << 8 | colours[3 * i];
        for (let y = top; y < top + size; y++) {
          for (let x = left, at = y * wide + left; x < left + size; x++, at++) {
            if (depth < nearest[at]) { nearest[at] = depth; pixels[at] = value; found[at] = i; }
          }
        }
      }
      context.putImageData(picture, 0, 0);
      if (cameras.checked) drawCameras(context, (point) => {
        const p = point.map((value, axis) => value - data.centre[axis]);
        const depth = m[2][0] * p[0] + m[2][1] * p[1] + m[2][2] * p[2] + away;
        return depth < 0.05 * data.radius ? null : [x0 + focal * (m[0][0] * p[0] + m[0][1] * p[1] + m[0][2] * p[2]) / depth,
          y0 + focal * (m[1][0] * p[0] + m[1][1] * p[1] + m[1][2] * p[2]) / depth];
      }, sharp);
    }
    function drawCameras(context, project, sharp) {
      cloud.cameras.forEach((camera, number) => {
        context.strokeStyle = context.fillStyle = colour(number % 2 ? "--second" : "--first");
        context.lineWidth = 2 * sharp;
        const points = camera.map(project);
        if (points.some((point) => !point)) return;
        context.beginPath();
        for (const corner of [1, 2, 3, 4]) { context.moveTo(...points[0]); context.lineTo(...points[corner]); }
        context.moveTo(...points[4]);
        for (const corner of [1, 2, 3, 4]) context.lineTo(...points[corner]);
        context.stroke();
        context.font = `${13 * sharp}px system-ui, sans-serif`;
        context.lineWidth = 3 * sharp;
        context.strokeStyle = colour("--paper");
        context.strokeText(views[number], points[1][0], points[1][1] - 5 * sharp);
        context.fillText(views[number], points[1][0], points[1][1] - 5 * sharp);
      });
    }
    function tell(event) {
      const area = canvas.getBoundingClientRect(), x = Math.floor((event.clientX - area.left) / area.width * wide), y = Math.floor((event.clientY - area.top) / area.height * tall);
      let point = -1;
      for (let reach = 0; reach < 6 && point < 0; reach++) {
        for (const [a, b] of [[0, 0], [reach, 0], [-reach, 0], [0, reach], [0, -reach]]) {
          if (x + a >= 0 && x + a < wide && y + b >= 0 && y + b < tall && found[(y + b) * wide + x + a] >= 0) point = found[(y + b) * wide + x + a];
        }
      }
      if (point < 0) return;
      const view = viewOf(point), row = cloud.forward[view], p = world(point);
      const depth = row[0] * p[0] + row[1] * p[1] + row[2] * p[2] + row[3];
      readout.textContent = `Depth ${depthText(depth)} from ${views[view]}`;
    }
    const fingers = new Map();
    let grip = null;
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      fingers.set(event.pointerId, event);
      grip = hold();
      tell(event);
    });
    function hold() {
      const [one, two] = [...fingers.values()];
      return { x: one.clientX, y: one.clientY, spread: two ? Math.hypot(one.clientX - two.clientX, one.clientY - two.clientY) : 0, ...pose };
    }
    canvas.addEventListener("pointermove", (event) => {
      if (!fingers.has(event.pointerId)) { tell(event); return; }
      fingers.set(event.pointerId, event);
      const [one, two] = [...fingers.values()], right = one.clientX - grip.x, below = one.clientY - grip.y;
      if (two) nudge({ zoom: grip.zoom * Math.hypot(one.clientX - two.clientX, one.clientY - two.clientY) / Math.max(1, grip.spread) });
      else if (event.shiftKey || event.buttons === 2) nudge({ right: grip.right + right / canvas.clientWidth, down: grip.down + below / canvas.clientWidth });
      else nudge({ yaw: grip.yaw - right / 3, pitch: grip.pitch + below / 3 });
    });
    for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, (event) => {
      fingers.delete(event.pointerId);
      if (fingers.size) grip = hold();
    });
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    canvas.addEventListener("wheel", (event) => {
      if (document.activeElement !== canvas) return;  // so that the page scrolls past it
      event.preventDefault();
      nudge({ zoom: pose.zoom * Math.exp(-event.deltaY / 500) });
    }, { passive: false });
    canvas.addEventListener("keydown", (event) => {
      const change = { ArrowLeft: { yaw: pose.yaw + 5 }, ArrowRight: { yaw: pose.yaw - 5 }, ArrowUp: { pitch: pose.pitch - 5 }, ArrowDown: { pitch: pose.pitch + 5 },
        "+": { zoom: pose.zoom * 1.2 }, "=": { zoom: pose.zoom * 1.2 }, "-": { zoom: pose.zoom / 1.2 } }[event.key];
      if (change) { event.preventDefault(); nudge(change); }
    });
    new ResizeObserver(drawAll).observe(canvas);
    return { draw, element: h("figure", {}, h("figcaption", {}, cloud.title), canvas, readout) };
  }

  const maps = h("div", {});
  for (const view of data.views) {
    const row = h("div", { class: "depths" });
    maps.append(row);
    row.append(h("figure", {}, h("figcaption", {}, view.name), h("img", { src: view.image, alt: `Image ${view.name}` })));
    for (const map of view.maps) row.append(depthMap(`${map.title} of ${view.name}`, map));
  }
  function depthMap(title, map) {
    const values = unpack(map.values, Uint16Array), readout = h("p", { class: "readout", "aria-live": "polite" }, "\u00a0");
    const palette = unpack(data.palette), canvas = h("canvas", { width: map.width, height: map.height, tabindex: 0, role: "img",
      "aria-label": `${title}, ${depthText(map.near)} to ${depthText(map.far)}. Arrow keys move the point that is read.` });
    const context = canvas.getContext("2d"), picture = context.createImageData(map.width, map.height);
    const depthAt = (i) => values[i] === 0 ? null : map.least + (values[i] - 1) / 65534 * (map.most - map.least);
    for (let i = 0; i < values.length; i++) {
      const depth = depthAt(i), share = depth === null ? 0 : clamp((1 / depth - 1 / map.far) / (1 / map.near - 1 / map.far || 1), 0, 1);
      const entry = Math.round(255 * share);
      picture.data.set(depth === null ? [96, 96, 96, 255] : [palette[3 * entry], palette[3 * entry + 1], palette[3 * entry + 2], 255], 4 * i);
    }
    context.putImageData(picture, 0, 0);
    let column = map.width >> 1, row = map.height >> 1;
    function tell() {
      const depth = depthAt(row * map.width + column);
      readout.textContent = depth === null ? "no depth here" : `Depth ${depthText(depth)}`;
    }
    canvas.addEventListener("pointermove", (event) => {
      const area = canvas.getBoundingClientRect();
      column = clamp(Math.floor((event.clientX - area.left) / area.width * map.width), 0, map.width - 1);
      row = clamp(Math.floor((event.clientY - area.top) / area.height * map.height), 0, map.height - 1);
      tell();
    });
    canvas.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
      if (!step) return;
      event.preventDefault();
      column = clamp(column + 4 * step[0], 0, map.width - 1);
      row = clamp(row + 4 * step[1], 0, map.height - 1);
      tell();
    });
    const stops = Array.from({ length: 9 }, (_, i) => { const e = Math.round((1 - i / 8) * 255) * 3; return `rgb(${palette[e]},${palette[e + 1]},${palette[e + 2]})`; });
    return h("figure", {}, h("figcaption", {}, title), canvas,
      h("div", { class: "scale", style: `background: linear-gradient(90deg, ${stops.join(",")})` }),
      h("div", { class: "ends" }, h("span", {}, `${depthText(map.near)} near`), h("span", {}, `${depthText(map.far)} far`)), readout);
  }

  root.append(
    h("div", { class: "row" },
      button("Turn left", () => ({ yaw: pose.yaw + 15 }), "⟲"), button("Turn right", () => ({ yaw: pose.yaw - 15 }), "⟳"),
      button("Zoom in", () => ({ zoom: pose.zoom * 1.25 }), "+"), button("Zoom out", () => ({ zoom: pose.zoom / 1.25 }), "−"),
      h("button", { type: "button", onclick: () => nudge({ yaw: 25, pitch: 20, zoom: 1, right: 0, down: 0 }) }, "Reset"),
      h("label", { class: "row" }, cameras, "cameras"), pointSize.element),
    h("div", { class: "pair" }, ...clouds.map((cloud) => cloud.element)),
    h("p", { class: "hint" }, "Drag to turn, Shift and drag to shift, pinch to zoom; after a click, the wheel zooms too. " + data.hint),
    h("h3", {}, "Depth"), maps,
  );
  drawAll();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
};
