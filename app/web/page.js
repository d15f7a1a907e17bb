// The page at /: creates its parts and connects them through the store.

import { CandidateDetails } from "./page/answer/candidate-details.js";
import { CandidateList } from "./page/answer/candidate-list.js";
import { byId } from "./page/dom.js";
import { Messages } from "./page/messages.js";
import { CorrectionForm } from "./page/pattern/correction-form.js";
import { KeyboardTools } from "./page/pattern/keyboard-tools.js";
import { PatternView } from "./page/pattern/pattern-view.js";
import { PointerTools } from "./page/pattern/pointer-tools.js";
import { Toolbar } from "./page/pattern/toolbar.js";
import { loadElements, PeriodicTable } from "./page/periodic-table.js";
import { AnswerStorage, RecentAnswers } from "./page/recent-answers.js";
import { Session } from "./page/session.js";
import { Store } from "./page/store.js";
import { Upload } from "./page/upload.js";

const TITLE = document.title;
const [elements, storage] = await Promise.all([loadElements(), AnswerStorage.open()]);
const store = new Store();
const session = new Session(store, (state) => storage.save(state));
const patternView = new PatternView(store);
new PointerTools(store, session, patternView);
new KeyboardTools(store, session, patternView);
store.subscribe(["inspection", "file", "answer"], showSections);
new Messages(store, session);
new Upload(store, session);
new PeriodicTable(store, session, elements);
new Toolbar(store, session, patternView);
new CorrectionForm(store, session);
new CandidateList(store);
new CandidateDetails(store, elements);
new RecentAnswers(storage, session);
document.body.dataset.ready = "true";

// Show the upload until there is a pattern, then the pattern and its tools.
function showSections({ inspection, fileName, answer }) {
  const focusIsHidden = inspection && byId("upload").contains(document.activeElement);
  const [first] = answer?.candidates ?? [];
  document.title = first ? `${first.formula}, ${fileName} – dd2d` : TITLE;
  document.body.dataset.stage = inspection ? "pattern" : "empty";
  byId("pattern-name").textContent = fileName || "Diffraction pattern";
  for (const id of ["stage", "toolbar", "legend"]) byId(id).hidden = !inspection;
  byId("upload").hidden = Boolean(inspection);
  byId("new-pattern").hidden = !inspection;
  byId("introduction").hidden = Boolean(answer);
  if (focusIsHidden) byId("pattern-name").focus({ preventScroll: true });
}
