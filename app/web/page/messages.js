// Displays progress and problems, and announces answers to screen readers.

import { saveApiKey } from "./api.js";
import { announce, byId, h } from "./dom.js";
import { summarizeAnswer } from "./verdict.js";

export class Messages {
  constructor(store, session) {
    store.subscribe(["progress"], ({ progress }) => this.#showProgress(progress));
    store.subscribe(["problem"], ({ problem, inspection }) => this.#showProblem(problem, inspection));
    store.subscribe(["answer"], ({ answer }) => answer && announce(summarizeAnswer(answer)));
    byId("retry").addEventListener("click", () => {
      const { inspection, file, readOptions } = store.state;
      if (inspection) session.requestAnswer();
      else if (file) session.open(file, readOptions);
    });
    byId("key-form").addEventListener("submit", (event) => {
      event.preventDefault();
      saveApiKey(byId("key").value.trim());
      byId("retry").click();
    });
  }

  #showProgress(progress) {
    document.body.classList.toggle("busy", Boolean(progress));
    byId("progress").textContent = progress ? `${progress} …` : "";
    byId("answer").setAttribute("aria-busy", String(Boolean(progress)));
  }

  // A file that cannot be read is reported below the upload, any later problem above the candidates.
  #showProblem(problem, inspection) {
    byId("problem-message").replaceChildren(...(problem ? renderProblem(problem) : []));
    byId("problem").hidden = !problem;
    byId("key-form").hidden = problem?.status !== 401;
    byId(inspection ? "answer-problem" : "upload-problem").append(byId("problem"));
  }
}

function renderProblem({ title, message, requestId }) {
  const request = requestId ? h("span", { class: "small" }, ` (request ${requestId})`) : "";
  return [h("strong", {}, `${title ?? "Something went wrong"}: `), message, request];
}
