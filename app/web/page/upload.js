// Accepts patterns that are dropped, pasted, chosen from disk or selected among the examples.

import { byId, h } from "./dom.js";

const EXAMPLES = [
  ["mos2-tilted.tif", "MoS₂, tilted by 3°", "Camera frame"],
  ["graphene.json", "Graphene", "List of spots"],
  ["twisted-pair.tif", "MoS₂ on WSe₂", "Camera frame, two lattices twisted by 21°"],
];

export class Upload {
  #store;
  #session;

  constructor(store, session) {
    this.#store = store;
    this.#session = session;
    byId("file").addEventListener("change", ({ target }) => {
      if (target.files.length) session.open(target.files[0]);
      target.value = "";
    });
    byId("new-pattern").addEventListener("click", () => {
      session.close();
      byId("file").focus();
    });
    document.addEventListener("dragover", (event) => this.#onDragOver(event));
    document.addEventListener("dragleave", (event) => this.#onDragLeave(event));
    document.addEventListener("drop", (event) => this.#onDrop(event));
    document.addEventListener("paste", (event) => this.#onPaste(event));
    byId("examples").replaceChildren(...EXAMPLES.map((example) => this.#renderExample(...example)));
  }

  #onDragOver(event) {
    if (![...event.dataTransfer.types].includes("Files")) return;
    event.preventDefault();
    document.body.classList.add("dropping");
  }

  // Leaving the window has no related target.
  #onDragLeave(event) {
    if (!event.relatedTarget) document.body.classList.remove("dropping");
  }

  #onDrop(event) {
    event.preventDefault();
    document.body.classList.remove("dropping");
    const [file] = event.dataTransfer.files;
    if (file) this.#session.open(file);
  }

  // Open a pasted file, picture or table of points, but leave what is pasted into a field alone.
  #onPaste(event) {
    if (event.target.closest?.("input, textarea, select")) return;
    const [file] = event.clipboardData.files;
    const text = event.clipboardData.getData("text/plain");
    if (file) this.#session.open(file);
    else if (text.trim()) this.#session.open(new File([text], "pasted points", { type: "text/plain" }));
    else return;
    event.preventDefault();
  }

  #renderExample(name, title, description) {
    return h("li", {}, h("button", { type: "button", class: "example", onclick: () => this.#openExample(name) },
      h("strong", {}, title), h("span", {}, description)));
  }

  async #openExample(name) {
    try {
      const response = await fetch(`/static/examples/${name}`);
      if (!response.ok) throw new Error(`status ${response.status}`);
      await this.#session.open(new File([await response.blob()], name));
    } catch (error) {
      this.#store.set({ problem: { title: "Cannot load the example", message: `${error.message}. Try again.` } });
    }
  }
}
