// Spectrograms in rows, with axes and the values under the pointer.
parts.spectrograms = function (root, data) {
  const all = h("div", {}), size = slider("Size of the images", { min: 9, max: 34, value: data.size || 15 }, (value) => all.style.setProperty("--size", value + "rem"));
  const readout = h("p", { class: "readout", "aria-live": "polite" }, data.axes ? "Point at an image for time and speed." : "");
  const users = [...new Set(data.rows.map((row) => row.user))];
  const choice = h("select", { "aria-label": "User", onchange: show }, h("option", { value: "" }, "all users"), ...users.map((user) => h("option", { value: user }, `user ${user}`)));
  const rows = data.rows.map((row) => {
    const plots = row.images.map((source, number) => plot(source, `Spectrogram ${number + 1}, ${row.title}`));
    const element = h("div", {}, h("h3", {}, row.title), h("div", { class: "spectrograms" }, ...plots));
    all.append(element);
    return { user: row.user, element };
  });
  function show() {
    for (const row of rows) row.element.hidden = choice.value !== "" && String(row.user) !== choice.value;
  }
  function plot(source, title) {
    const image = h("img", { src: source, alt: title, draggable: "false" });
    const box = h("figure", { class: "plot" }, h("div", { class: "up" }, ...ticks(data.up, "bottom")), image, h("div", { class: "across" }, ...ticks(data.across, "left")));
    image.addEventListener("pointermove", (event) => {
      if (!data.axes) return;
      const area = image.getBoundingClientRect(), x = clamp((event.clientX - area.left) / area.width, 0, 1), y = clamp((event.clientY - area.top) / area.height, 0, 1);
      const speed = data.axes.high_speed - y * (data.axes.high_speed - data.axes.low_speed);
      readout.textContent = `${(x * data.axes.seconds).toFixed(2)} s, ${speed.toFixed(2)} m/s`;
    });
    return box;
  }
  function ticks(marks, side) {
    return marks.map(([share, text], i) => h("span", { style: `${side}:${100 * share}%`, class: side === "left" && i === marks.length - 1 && share > 0.85 ? "last" : "" }, text));
  }
  all.style.setProperty("--size", size.input.value + "rem");
  root.append(h("div", { class: "row" }, users.length > 1 ? h("label", { class: "row" }, "Show ", choice) : "", size.element), readout, all);
};
