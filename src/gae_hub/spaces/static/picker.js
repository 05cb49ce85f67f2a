// A control to choose an image: one of the examples, a file, or a drawing. `onPick` receives {example} or {image}.

function imagePicker({ label, value, onPick, withDrawing = true }) {
  const current = el("div", { class: "gae-picked" });
  const strip = el("div", { class: "gae-strip", role: "group", "aria-label": `${label}: examples` });
  const file = el("input", { type: "file", accept: "image/*", hidden: true, "aria-label": `${label}: image file` });
  const pad = withDrawing ? drawingPad((image) => pick({ image }, "your drawing")) : null;
  const actions = el(
    "div",
    { class: "gae-actions" },
    button("Upload", () => file.click(), { "aria-label": `${label}: upload an image` }),
    withDrawing
      ? button("Draw", (event) => {
          pad.hidden = !pad.hidden;
          event.currentTarget.setAttribute("aria-expanded", String(!pad.hidden));
        }, { "aria-expanded": "false", "aria-label": `${label}: draw an image` })
      : null,
    el("span", { class: "gae-hint" }, "or drop a file here"),
  );
  const root = el("div", { class: "gae-picker" }, current, strip, actions, file, pad);

  config.examples.forEach((example, index) => {
    const caption = example.label === null ? `Example ${index + 1}` : `Example ${index + 1}, label ${example.label}`;
    strip.append(
      el("button", {
        type: "button", class: "gae-thumb", title: caption, "aria-label": caption,
        onclick: () => pick({ example: index }, caption),
      }, picture(example.image, "")),
    );
  });

  function show(choice, caption) {
    press(strip, choice.example);
    showPicture(current, choice.image ?? config.examples[choice.example].image, `${label}: ${caption}`);
  }

  function pick(choice, caption) {
    show(choice, caption);
    onPick(choice);
  }

  async function readFile(found) {
    if (!found) return;
    if (found.size > config.maxBytes) {
      complain(`this file has ${(found.size / 2 ** 20).toFixed(1)} MB, more than the ${config.maxBytes / 2 ** 20} MB that are accepted: make it smaller`);
      return;
    }
    const reader = new FileReader();
    reader.onload = () => pick({ image: reader.result }, found.name);
    reader.readAsDataURL(found);
  }

  const message = el("p", { class: "gae-error", role: "alert", hidden: true });
  root.append(message);
  function complain(text) {
    message.textContent = text;
    message.hidden = false;
    setTimeout(() => { message.hidden = true; }, 8000);
  }

  file.addEventListener("change", () => { readFile(file.files[0]); file.value = ""; });
  root.addEventListener("dragover", (event) => { event.preventDefault(); root.classList.add("is-over"); });
  root.addEventListener("dragleave", () => root.classList.remove("is-over"));
  root.addEventListener("drop", (event) => {
    event.preventDefault();
    root.classList.remove("is-over");
    readFile(event.dataTransfer.files[0]);
  });
  if (value !== null) show({ example: value }, `Example ${value + 1}`);
  return root;
}

function drawingPad(onDraw) {
  const size = 224;
  const canvas = el("canvas", {
    width: size, height: size, class: "gae-pad", role: "img",
    "aria-label": "Drawing area: draw with a mouse, a pen or a finger",
  });
  const pen = canvas.getContext("2d");
  const width = el("input", { type: "range", min: 6, max: 40, value: 18 });
  const colour = config.channels === 1 ? null : el("input", { type: "color", value: config.ink });
  const root = el(
    "div", { class: "gae-drawing", hidden: true }, canvas,
    el("div", { class: "gae-actions" },
      field("Brush", width), colour && field("Colour", colour), button("Clear", () => { clear(); send(); })),
  );
  let last = null;

  function clear() {
    pen.fillStyle = config.paper;
    pen.fillRect(0, 0, size, size);
  }

  function send() {
    onDraw(canvas.toDataURL("image/png"));
  }

  function stroke(event) {
    const box = canvas.getBoundingClientRect();
    const point = [((event.clientX - box.left) / box.width) * size, ((event.clientY - box.top) / box.height) * size];
    pen.strokeStyle = colour ? colour.value : config.ink;
    pen.lineWidth = Number(width.value);
    pen.lineCap = pen.lineJoin = "round";
    pen.beginPath();
    pen.moveTo(...(last ?? point));
    pen.lineTo(...point);
    pen.stroke();
    last = point;
    send();
  }

  canvas.addEventListener("pointerdown", (event) => { canvas.setPointerCapture(event.pointerId); last = null; stroke(event); });
  canvas.addEventListener("pointermove", (event) => { if (canvas.hasPointerCapture(event.pointerId)) stroke(event); });
  clear();
  return root;
}
