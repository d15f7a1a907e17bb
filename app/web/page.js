// The page at /: a pattern in, crystals out.

import { byId, say } from "./page/dom.js";
import { Candidates } from "./page/candidates.js";
import { Chosen } from "./page/chosen.js";
import { Elements, loadElements } from "./page/elements.js";
import { Frame } from "./page/frame.js";
import { History } from "./page/history.js";
import { Intake } from "./page/intake.js";
import { Journey } from "./page/journey.js";
import { Recent } from "./page/recent.js";
import { Settings } from "./page/settings.js";
import { Status } from "./page/status.js";
import { EMPTY, Store } from "./page/store.js";
import { Tools } from "./page/tools.js";

const [elements, history] = await Promise.all([loadElements(), History.open()]);
const store = new Store(EMPTY);
// Every answer to one pattern is one entry of the list.
const journey = new Journey(store, (state) => history.keep(state));
const frame = new Frame(store);
const tools = new Tools(frame, journey);
new Status(store, journey);
new Intake(store, journey);
new Elements(store, journey);
new Settings(store, journey, tools);
new Candidates(store);
new Chosen(store, elements);
new Recent(history, journey);

for (const name of ["spots", "beams", "vectors"]) {
  byId(`show-${name}`).addEventListener("change", ({ target }) =>
    frame.svg.classList.toggle(`without-${name}`, !target.checked));
}
byId("brightness").addEventListener("input", ({ target }) => {
  frame.svg.style.setProperty("--brightness", target.value);
});

document.addEventListener("keydown", (event) => {
  if (!(event.ctrlKey || event.metaKey) || event.target.closest("input, textarea, select")) return;
  if (event.key.toLowerCase() !== "z" && event.key.toLowerCase() !== "y") return;
  event.preventDefault();
  if (event.key.toLowerCase() === "y" || event.shiftKey) {
    journey.redo();
    say("Redone.");
  } else {
    journey.undo();
    say("Undone.");
  }
});
document.body.dataset.ready = "true";
