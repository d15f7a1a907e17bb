// What is going on and what went wrong, told where it belongs, to eyes and to screen readers.

import { rememberKey } from "./api.js";
import { byId, h, say } from "./dom.js";
import { percent } from "./numbers.js";
import { verdictOf } from "./candidates.js";

export class Status {
  constructor(store, journey) {
    store.show(["inspection", "file", "answer"], (state) => this.#stage(state));
    store.show(["busy"], ({ busy }) => {
      document.body.classList.toggle("busy", Boolean(busy));
      byId("busy").textContent = busy ? `${busy} …` : "";
      byId("answer").setAttribute("aria-busy", String(Boolean(busy)));
    });
    store.show(["problem"], ({ problem, inspection }) => this.#problem(problem, inspection));
    store.show(["answer"], ({ answer }) => answer && say(spoken(answer)));
    byId("again").addEventListener("click", () => {
      const { inspection, file, reading } = store.state;
      if (inspection) journey.ask();
      else if (file) journey.open(file, reading);
    });
    byId("key-form").addEventListener("submit", (event) => {
      event.preventDefault();
      rememberKey(byId("key").value.trim());
      byId("again").click();
    });
  }

  #stage({ inspection, name, answer }) {
    const leaving = inspection && byId("intake").contains(document.activeElement);
    document.body.dataset.stage = inspection ? "pattern" : "empty";
    byId("name").textContent = name || "A pattern";
    document.title = answer?.candidates.length
      ? `${answer.candidates[0].formula}, ${name} – dd2d` : "dd2d: a diffraction pattern in, crystals out";
    for (const id of ["stage", "tools-bar", "legend"]) byId(id).hidden = !inspection;
    byId("intake").hidden = Boolean(inspection);
    byId("new").hidden = !inspection;
    byId("waiting").hidden = Boolean(answer);
    // What had the focus is gone; the way goes on from the pattern.
    if (leaving) byId("name").focus({ preventScroll: true });
  }

  // Beside what caused it: of a file that cannot be read at the file, of a question at the answer.
  #problem(problem, inspection) {
    const box = byId("problem");
    byId("problem-text").replaceChildren(...(problem
      ? [h("strong", {}, `${problem.title ?? "Something went wrong"}: `), problem.message,
        problem.requestId && h("span", { class: "small" }, ` (request ${problem.requestId})`)].filter(Boolean) : []));
    box.hidden = !problem;
    byId("key-form").hidden = problem?.status !== 401;
    byId(inspection ? "problem-of-answer" : "problem-of-file").append(box);
  }
}

function spoken(answer) {
  const [title] = verdictOf(answer);
  const [first] = answer.candidates;
  if (!first) return title;
  const sure = first.probability === null ? "" : `, ${percent(first.probability)}`;
  return `${title}. First of ${answer.candidates.length} candidates: ${first.formula}${sure}.`;
}
