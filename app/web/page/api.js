// Sends requests to the service: authentication, one retry when it is busy, and errors as `Problem`.

const KEY = "dd2d-key";
const MAX_RETRY_WAIT_S = 10;

export class Problem extends Error {
  constructor({ title, detail, status = 0, requestId = "" }) {
    super(detail);
    Object.assign(this, { title, status, requestId });
  }
}

// Used if the browser does not allow storage.
let unsavedKey = "";

export function saveApiKey(key) {
  try {
    sessionStorage.setItem(KEY, key);
  } catch {
    unsavedKey = key;
  }
}

function loadApiKey() {
  try {
    return sessionStorage.getItem(KEY) ?? unsavedKey;
  } catch {
    return unsavedKey;
  }
}

// POST a form or JSON and return the response.
export async function post(path, body, { accept = "application/json", signal } = {}) {
  const headers = { Accept: accept };
  const key = loadApiKey();
  if (key) headers.Authorization = `Bearer ${key}`;
  const isForm = body instanceof FormData;
  if (!isForm) headers["Content-Type"] = "application/json";
  const request = { method: "POST", body: isForm ? body : JSON.stringify(body), headers, signal };
  let response = await send(path, request);
  const wait = Number(response.headers.get("Retry-After"));
  if ([429, 503].includes(response.status) && wait > 0 && wait <= MAX_RETRY_WAIT_S) {
    await pause(wait * 1000, signal);
    response = await send(path, request);
  }
  if (!response.ok) throw await readProblem(response);
  return response;
}

async function send(path, request) {
  try {
    return await fetch(path, request);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem({
      title: "Cannot reach the server",
      detail: "The connection was lost, or the server is down. Your pattern is still loaded; try again.",
    });
  }
}

async function readProblem(response) {
  const content = await response.json().catch(() => ({}));
  return new Problem({
    title: content.title ?? "Request failed",
    detail: content.detail ?? `The server returned status ${response.status}.`,
    status: response.status,
    requestId: content.request_id ?? response.headers.get("X-Request-ID") ?? "",
  });
}

function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, milliseconds);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(new DOMException("The request was canceled.", "AbortError"));
    }, { once: true });
  });
}
