/** The rules of a password that can be judged in the browser; the server judges again, and knows the common ones. */
export interface Rules {
  length: boolean;
  notName: boolean;
  notSimple: boolean;
}

export function judge(password: string, username: string, minLength: number): Rules {
  const lower = password.toLowerCase();
  const name = username.trim().toLowerCase();
  return {
    length: [...password].length >= minLength,
    notName: password !== "" && (name.length < 3 || !lower.includes(name)),
    notSimple: password !== "" && !isSimple(lower),
  };
}

/** One character repeated, or every character a step up (or down) from the one before. */
function isSimple(text: string): boolean {
  const codes = [...text].map((one) => one.codePointAt(0) ?? 0);
  const steps = new Set(codes.slice(1).map((code, i) => code - (codes[i] ?? 0)));
  const [step = 0] = steps;
  return steps.size <= 1 && Math.abs(step) <= 1;
}
