// How a pattern comes in: dropped, pasted, chosen or an example.

import { byId, h } from "./dom.js";

const EXAMPLES = [
  ["mos2-tilted.tif", "MoS₂, tilted by 3°", "a frame of the camera"],
  ["graphene.json", "Graphene", "measured spots"],
  ["twisted-pair.tif", "MoS₂ on WSe₂", "two lattices, twisted by 21°"],
];

export class Intake {
  #journey;
  #store;

  constructor(store, journey) {
    this.#store = store;
    this.#journey = journey;
    byId("file").addEventListener("change", ({ target }) => {
      if (target.files.length) journey.open(target.files[0]);
      target.value = "";
    });
    byId("new").addEventListener("click", () => {
      journey.close();
      byId("file").focus();
    });
    document.addEventListener("dragover", (event) => this.#over(event));
    document.addEventListener("dragleave", (event) => event.relatedTarget ?? document.body.classList.remove("dropping"));
    document.addEventListener("drop", (event) => this.#dropped(event));
    document.addEventListener("paste", (event) => this.#pasted(event));
    byId("examples").replaceChildren(...EXAMPLES.map((each) => this.#example(...each)));
  }

  #over(event) {
    if (![...event.dataTransfer.types].includes("Files")) return;
    event.preventDefault();
    document.body.classList.add("dropping");
  }

  #dropped(event) {
    event.preventDefault();
    document.body.classList.remove("dropping");
    const [file] = event.dataTransfer.files;
    if (file) this.#journey.open(file);
  }

  // A picture or a file, or the text of a table of points; not what is meant for a field.
  #pasted(event) {
    if (event.target.closest?.("input, textarea, select")) return;
    const [file] = event.clipboardData.files;
    const text = event.clipboardData.getData("text/plain");
    if (file) this.#journey.open(file);
    else if (text.trim()) this.#journey.open(new File([text], "pasted points", { type: "text/plain" }));
    else return;
    event.preventDefault();
  }

  #example(name, title, told) {
    return h("li", {}, h("button", { type: "button", class: "example", onclick: () => this.#open(name) },
      h("strong", {}, title), h("span", {}, told)));
  }

  async #open(name) {
    try {
      const response = await fetch(`/static/examples/${name}`);
      if (!response.ok) throw new Error(`status ${response.status}`);
      await this.#journey.open(new File([await response.blob()], name));
    } catch (error) {
      this.#store.set({ problem: { title: "The example did not come", message: `The service does not answer: ${error.message}` } });
    }
  }
}
