// Stores recent answers in this browser only, and lists them.

import { announce, byId, h, renderFormula } from "./dom.js";
import { formatPercent, formatTime } from "./format.js";

const DATABASE = "dd2d", TABLE = "answers";
// Increased whenever the format of records changes; older records are then dropped.
const VERSION = 2;
const MAX_ANSWERS = 24;
// Larger files are not stored. Their spots are, so that the user can still continue.
const MAX_FILE_BYTES = 4 * 2 ** 20;

// Keeps answers in IndexedDB, or in memory if the browser does not allow storage.
export class AnswerStorage extends EventTarget {
  #database = null;
  #records = new Map();

  static async open() {
    const storage = new AnswerStorage();
    try {
      storage.#database = await openDatabase();
      const records = await waitFor(storage.#openTable("readonly").getAll());
      for (const record of records) storage.#records.set(record.id, record);
    } catch {
      storage.#database = null;
    }
    return storage;
  }

  get isPersistent() {
    return this.#database !== null;
  }

  // The latest record comes first.
  get records() {
    return [...this.#records.values()].sort((one, other) => other.at - one.at);
  }

  // Add or replace the record of the current answer.
  async save(state) {
    const { fileName, inspection, picture, pattern, settings, readOptions } = state;
    const { elementMarks, onlyMarked, composition, answer, file, recordId } = state;
    const record = {
      id: recordId, at: answer.at, fileName, inspection, picture, pattern, settings, readOptions,
      elementMarks, onlyMarked, composition, answer, file: file && file.size <= MAX_FILE_BYTES ? file : null,
    };
    this.#records.set(record.id, record);
    await this.#write((table) => table.put(record));
    for (const { id } of this.records.slice(MAX_ANSWERS)) await this.remove(id);
  }

  async remove(id) {
    this.#records.delete(id);
    await this.#write((table) => table.delete(id));
  }

  async clear() {
    this.#records.clear();
    await this.#write((table) => table.clear());
  }

  // The list follows what is stored.
  async #write(change) {
    try {
      if (this.#database) await waitFor(change(this.#openTable("readwrite")));
    } catch {
      // The disk is full or the window is private. The record stays in memory.
    }
    this.dispatchEvent(new Event("change"));
  }

  #openTable(mode) {
    return this.#database.transaction(TABLE, mode).objectStore(TABLE);
  }
}

function openDatabase() {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open(DATABASE, VERSION);
    request.onupgradeneeded = () => {
      const database = request.result;
      if (database.objectStoreNames.contains(TABLE)) database.deleteObjectStore(TABLE);
      database.createObjectStore(TABLE, { keyPath: "id" });
    };
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
    request.onblocked = () => reject(new Error("The database is blocked by another page."));
  });
}

function waitFor(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

// Lists the stored answers; a click displays one again.
export class RecentAnswers {
  #storage;
  #session;
  #urls = [];

  constructor(storage, session) {
    this.#storage = storage;
    this.#session = session;
    storage.addEventListener("change", () => this.#show());
    byId("clear-recent").addEventListener("click", () => {
      storage.clear();
      announce("All recent answers deleted.");
    });
    this.#show();
  }

  #show() {
    for (const url of this.#urls) URL.revokeObjectURL(url);
    this.#urls = [];
    const { records, isPersistent } = this.#storage;
    byId("recent").hidden = !records.length;
    byId("recent-note").textContent = isPersistent
      ? "Stored only in this browser."
      : "This browser does not allow storage. The answers are lost when the page is closed.";
    byId("recent-list").replaceChildren(...records.map((record) => this.#renderRecord(record)));
  }

  #renderRecord(record) {
    const { id, fileName, at, picture } = record;
    const time = formatTime(at);
    return h("li", {},
      h("button", { type: "button", class: "reopen", onclick: () => this.#session.restore(record) },
        picture ? h("img", { src: this.#createUrl(picture), alt: "", width: 44, height: 44, loading: "lazy" })
          : h("span", { class: "no-picture", "aria-hidden": true }, "⁘"),
        h("span", { class: "summary" }, h("strong", {}, ...renderTopCandidate(record.answer)), h("span", {}, fileName),
          h("time", {}, time))),
      h("button", {
        type: "button", class: "quiet delete", "aria-label": `Delete ${fileName}, ${time}`,
        onclick: () => this.#storage.remove(id),
      }, "×"));
  }

  #createUrl(blob) {
    const url = URL.createObjectURL(blob);
    this.#urls.push(url);
    return url;
  }
}

function renderTopCandidate({ candidates: [first] }) {
  if (!first) return ["no candidates"];
  return [...renderFormula(first.formula), first.probability === null ? "" : ` ${formatPercent(first.probability)}`];
}
