// Elements from names, attributes and children. Text is always text: nothing here reads HTML.

const SVG = "http://www.w3.org/2000/svg";

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "on") {
      for (const [event, call] of Object.entries(value)) element.addEventListener(event, call);
    } else if (name === "value" || name === "checked" || name === "disabled") {
      element[name] = value;
    } else {
      element.setAttribute(name, value === true ? "" : String(value));
    }
  }
  element.append(...children.flat(Infinity).filter((child) => child !== undefined && child !== null && child !== false));
  return element;
}

/** An element: `make("p", { class: "dim" }, "text", other)`. */
export function make(tag, attributes, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

/** The same of a drawing. */
export function draw(tag, attributes, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

/** Puts new children in place of all there are; whoever has the focus keeps it, found again by its `data-key`. */
export function fill(element, ...children) {
  const key = element.contains(document.activeElement) ? document.activeElement.dataset?.key : undefined;
  element.replaceChildren(...children.flat(Infinity).filter((child) => child !== undefined && child !== null && child !== false));
  if (key) element.querySelector(`[data-key="${CSS.escape(key)}"]`)?.focus({ preventScroll: true });
}

/** A line at the edge of the screen, for a while. */
export function toast(text, tone = "good") {
  const line = make("p", { class: `toast ${tone}` }, text);
  document.getElementById("toasts").append(line);
  setTimeout(() => line.remove(), tone === "good" ? 5000 : 12000);
}

/** Asks in a dialog; the answer is what `read` makes of it, or nothing where it was closed. */
export function dialog({ title, text, fields = [], action, tone = "", read }) {
  return new Promise((resolve) => {
    const problem = make("p", { class: "problem", role: "alert" });
    const close = () => box.close();
    const form = make(
      "form",
      {
        on: {
          submit: async (event) => {
            event.preventDefault();
            problem.textContent = "";
            const button = form.querySelector("button[type=submit]");
            button.disabled = true;
            try {
              resolve(await read());
              box.close();
            } catch (error) {
              problem.textContent = error.message;
            } finally {
              button.disabled = false;
            }
          },
        },
      },
      make("h2", { id: "dialog-title" }, title),
      text && make("p", { class: "dim" }, text),
      fields,
      problem,
      make(
        "div",
        { class: "row end" },
        make("button", { type: "button", class: "quiet", on: { click: close } }, "Cancel"),
        make("button", { type: "submit", class: tone }, action),
      ),
    );
    const box = make("dialog", { "aria-labelledby": "dialog-title" }, form);
    box.addEventListener("close", () => {
      box.remove();
      resolve(undefined);
    });
    document.body.append(box);
    box.showModal();
  });
}

/** A field of a form with its label. */
export function field(label, input, hint) {
  input.id ||= `field-${label.toLowerCase().replace(/[^a-z]+/g, "-")}`;
  return make("p", { class: "field" }, make("label", { for: input.id }, label), input, hint && make("small", { class: "dim" }, hint));
}
