// The list of recent answers.

import { byId, formula, h, say } from "./dom.js";
import { moment, percent } from "./numbers.js";

export class Recent {
  #history;
  #journey;
  #urls = [];

  constructor(history, journey) {
    this.#history = history;
    this.#journey = journey;
    history.addEventListener("change", () => this.#show());
    byId("clear-recent").addEventListener("click", () => {
      history.clear();
      say("All recent answers were deleted.");
    });
    this.#show();
  }

  #show() {
    for (const url of this.#urls) URL.revokeObjectURL(url);
    this.#urls = [];
    const all = this.#history.all;
    byId("recent").hidden = !all.length;
    byId("recent-note").textContent = this.#history.stores
      ? "Kept in this browser only." : "This browser stores nothing; they go when the page is closed.";
    byId("recent-list").replaceChildren(...all.map((each) => this.#item(each)));
  }

  #item(record) {
    const { id, name, at, answer, picture } = record;
    const [first] = answer.candidates;
    const told = first
      ? [...formula(first.formula), first.probability === null ? "" : ` ${percent(first.probability)}`] : ["no candidate"];
    return h("li", {},
      h("button", { type: "button", class: "reopen", onclick: () => this.#journey.reopen({ ...record, stored: id }) },
        picture ? h("img", { src: this.#url(picture), alt: "", width: 44, height: 44, loading: "lazy" })
          : h("span", { class: "no-picture", "aria-hidden": true }, "⁘"),
        h("span", { class: "what" }, h("strong", {}, ...told), h("span", {}, name), h("time", {}, moment(at)))),
      h("button", {
        type: "button", class: "quiet delete", "aria-label": `Delete ${name}, ${moment(at)}`,
        onclick: () => this.#history.remove(id),
      }, "×"));
  }

  #url(blob) {
    const url = URL.createObjectURL(blob);
    this.#urls.push(url);
    return url;
  }
}
