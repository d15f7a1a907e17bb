// The answers of before, in this browser and nowhere else; where it stores nothing, for as long as the page is open.

const NAME = "dd2d", STORE = "answers", MOST = 24;
// A larger file is not kept: its spots are, so the ranking still follows.
const LARGEST_FILE = 4 * 2 ** 20;

export class History extends EventTarget {
  #database = null;
  #memory = new Map();

  static async open() {
    const history = new History();
    try {
      history.#database = await opened();
      const all = await done(history.#store("readonly").getAll());
      for (const each of all) history.#memory.set(each.id, each);
    } catch {
      history.#database = null;
    }
    return history;
  }

  get stores() {
    return this.#database !== null;
  }

  get all() {
    return [...this.#memory.values()].sort((one, other) => other.at - one.at);
  }

  async keep({ file, name, inspection, picture, edits, settings, reading, marks, only, composition, answer, stored }) {
    await this.#put({
      id: stored, at: answer.at, name, inspection, picture, edits, settings, reading, marks, only, composition, answer,
      file: file && file.size <= LARGEST_FILE ? file : null,
    });
    for (const { id } of this.all.slice(MOST)) await this.remove(id);
  }

  async #put(record) {
    this.#memory.set(record.id, record);
    await this.#written((store) => store.put(record));
  }

  async remove(id) {
    this.#memory.delete(id);
    await this.#written((store) => store.delete(id));
  }

  async clear() {
    this.#memory.clear();
    await this.#written((store) => store.clear());
  }

  async #written(write) {
    this.dispatchEvent(new Event("change"));
    if (!this.#database) return;
    try {
      await done(write(this.#store("readwrite")));
    } catch {
      // A full disk or a private window: the page has it still.
    }
  }

  #store(mode) {
    return this.#database.transaction(STORE, mode).objectStore(STORE);
  }
}

function opened() {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open(NAME, 1);
    request.onupgradeneeded = () => request.result.createObjectStore(STORE, { keyPath: "id" });
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
    request.onblocked = () => reject(new Error("blocked by another page"));
  });
}

function done(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}
