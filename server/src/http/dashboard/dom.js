// Elements from plain calls. Text becomes text nodes and nothing else: there is no way to markup from here.

const SVG = "http://www.w3.org/2000/svg";

/** An element; `null` and `false` among the children are left out. */
export function h(tag, props, ...children) {
  return fill(document.createElement(tag), props, children);
}

/** An SVG element. */
export function s(tag, props, ...children) {
  return fill(document.createElementNS(SVG, tag), props, children);
}

function fill(node, props, children) {
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "on") {
      for (const [event, handler] of Object.entries(value)) node.addEventListener(event, handler);
    } else if (name === "vars") {
      // Through the object model: a strict policy forbids the attribute, and rightly.
      for (const [key, text] of Object.entries(value)) node.style.setProperty(key, String(text));
    } else if (name === "class") {
      node.setAttribute("class", value);
    } else if (name === "href") {
      node.setAttribute("href", safeHref(value));
    } else {
      node.setAttribute(name, value === true ? "" : String(value));
    }
  }
  append(node, children);
  return node;
}

// Links lead to our own pages; whatever a text says, it cannot become another scheme.
function safeHref(value) {
  const text = String(value);
  return text.startsWith("#/") || text.startsWith("/") ? text : "#/";
}

/** Appends children: nodes, texts, numbers, or lists of them. */
export function append(node, children) {
  for (const child of children) {
    if (child === null || child === undefined || child === false) continue;
    if (Array.isArray(child)) append(node, child);
    else node.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
}

/** Puts `children` in the place of everything in `node`. */
export function put(node, ...children) {
  node.replaceChildren();
  append(node, children);
  return node;
}
