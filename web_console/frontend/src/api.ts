/** Requests to the server's HTTP interface: JSON, same origin, with the token that proves they come from our page. */
export interface Problem {
  code: string;
  message: string;
  field: string;
  retryAfter: number;
}

export type Outcome<T> = { ok: true; value: T } | { ok: false; problem: Problem };

const TIMEOUT_MS = 15_000;

const OFFLINE: Problem = { code: "offline", message: "", field: "", retryAfter: 0 };

export async function post<T>(path: string, body: unknown, csrf: string): Promise<Outcome<T>> {
  try {
    const response = await fetch(path, {
      method: "POST",
      credentials: "same-origin",
      headers: { "Content-Type": "application/json", ...(csrf ? { "X-Fengsui-CSRF": csrf } : {}) },
      body: JSON.stringify(body),
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    const text = await response.text();
    const answer: unknown = text ? JSON.parse(text) : null;
    if (response.ok) return { ok: true, value: answer as T };
    return { ok: false, problem: problemOf(answer, response.status, response.headers.get("Retry-After")) };
  } catch {
    return { ok: false, problem: OFFLINE };
  }
}

/** The server's account of an error; anything else in the answer (a proxy's page) counts as the server's fault. */
function problemOf(answer: unknown, status: number, retryAfter: string | null): Problem {
  const error = (answer as { error?: Partial<Problem> } | null)?.error;
  return {
    code: error?.code ?? (status === 429 ? "too_many" : "internal"),
    message: error?.message ?? `HTTP ${status}`,
    field: error?.field ?? "",
    retryAfter: error?.retryAfter || Number(retryAfter) || 0,
  };
}
