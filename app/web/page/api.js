// The service, asked: problems as errors that say what to do, one polite second try, a key where one is asked for.

const KEY = "dd2d-key";
const LONGEST_WAIT_S = 10;

export class Problem extends Error {
  constructor({ title, detail, status = 0, request_id: requestId = "" }) {
    super(detail);
    Object.assign(this, { title, status, requestId });
  }
}

export function rememberKey(key) {
  try {
    sessionStorage.setItem(KEY, key);
  } catch {
    forgotten = key;
  }
}

// Of a browser that stores nothing.
let forgotten = "";

function key() {
  try {
    return sessionStorage.getItem(KEY) ?? forgotten;
  } catch {
    return forgotten;
  }
}

// The response to a POST of a form or of JSON.
export async function post(path, body, { accept = "application/json", signal } = {}) {
  const headers = { Accept: accept };
  if (key()) headers.Authorization = `Bearer ${key()}`;
  const form = body instanceof FormData;
  if (!form) headers["Content-Type"] = "application/json";
  const request = { method: "POST", body: form ? body : JSON.stringify(body), headers, signal };
  let response = await reached(path, request);
  const wait = Number(response.headers.get("Retry-After"));
  if ([429, 503].includes(response.status) && wait > 0 && wait <= LONGEST_WAIT_S) {
    await pause(wait * 1000, signal);
    response = await reached(path, request);
  }
  if (!response.ok) throw await problemOf(response);
  return response;
}

async function reached(path, request) {
  try {
    return await fetch(path, request);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem({
      title: "The service does not answer",
      detail: "The connection was lost, or the service is down. Your pattern is still here: try again.",
    });
  }
}

async function problemOf(response) {
  const content = await response.json().catch(() => ({}));
  return new Problem({
    title: content.title ?? "The service refused",
    detail: content.detail ?? `It answered with status ${response.status}.`,
    status: response.status,
    request_id: content.request_id ?? response.headers.get("X-Request-ID") ?? "",
  });
}

function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, milliseconds);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(new DOMException("no longer wanted", "AbortError"));
    }, { once: true });
  });
}
