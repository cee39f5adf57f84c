// Elements, made without HTML text: nothing that the service says can become markup.

export const $ = (id) => document.getElementById(id);

/** An element with attributes and children; `class` and `text` as they are called. */
export function el(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (key === "text") made.textContent = value;
    else if (key === "onclick") made.addEventListener("click", value);
    else made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

/** A table. Columns are [heading, function from a row to a text or element, "number"?]. */
export function table(caption, columns, rows, empty) {
  if (rows.length === 0) return el("p", { class: "note", text: empty });
  const kind = (column) => (column[2] === "number" ? "number" : null);
  const head = el("tr", {}, ...columns.map((column) => el("th", { scope: "col", class: kind(column), text: column[0] })));
  const body = rows.map((row) =>
    el("tr", {}, ...columns.map((column) => el("td", { class: kind(column) }, cell(column[1](row))))),
  );
  return el("table", {}, el("caption", { text: caption }), el("thead", {}, head), el("tbody", {}, ...body));
}

const cell = (value) => (value instanceof Node ? value : document.createTextNode(value ?? "–"));

/** Replaces what is shown in a place; focus and sideways scrolling stay with the parts that have the same label. */
export function refresh(place, ...children) {
  const labelled = () => [...place.querySelectorAll("[aria-label]")];
  const focused = place.contains(document.activeElement) ? document.activeElement.getAttribute("aria-label") : null;
  const scrolled = new Map(labelled().map((part) => [part.getAttribute("aria-label"), part.scrollLeft]));
  place.replaceChildren(...children);
  for (const part of labelled()) {
    const label = part.getAttribute("aria-label");
    part.scrollLeft = scrolled.get(label) ?? 0;
    if (label === focused) part.focus({ preventScroll: true });
  }
}

/** Sets a text that is read out when it changes. */
export function say(place, text, kind) {
  if (place.textContent !== text) place.textContent = text;
  place.className = kind;
}

/** Name and value pairs for a `dl`. */
export function facts(list, entries) {
  list.replaceChildren(
    ...entries.flatMap(([name, value, kind]) => [
      el("div", {}, el("dt", { text: name }), el("dd", { class: kind }, cell(value))),
    ]),
  );
  return list;
}

export const count = (number) => (number === null || number === undefined ? "–" : number.toLocaleString("en"));

export function size(bytes) {
  if (bytes === null || bytes === undefined) return "–";
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  let value = bytes;
  while (Math.abs(value) >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${unit === 0 ? value : value.toFixed(1)} ${units[unit]}`;
}

export function duration(seconds) {
  if (seconds < 90) return `${Math.max(0, Math.round(seconds))} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return seconds < 129600 ? `${(seconds / 3600).toFixed(1)} h` : `${(seconds / 86400).toFixed(1)} days`;
}

/** A user that was typed in: the payload of a token where it begins with a brace, else an id. */
export function typedUser(text) {
  const typed = text.trim();
  if (!typed.startsWith("{")) return typed;
  try {
    return JSON.parse(typed);
  } catch {
    throw new Error(`This is no JSON: ${typed.slice(0, 60)}`);
  }
}
