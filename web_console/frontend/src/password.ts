/** The rules of a password that can be judged in the browser; the server judges again, and knows the common ones. */
export const DIFFERENT = 5;

interface Rules {
  length: boolean;
  notName: boolean;
  varied: boolean;
  notSimple: boolean;
}

export function judge(password: string, username: string, minLength: number): Rules {
  const lower = password.normalize("NFKC").toLowerCase();
  const name = username.trim().toLowerCase();
  const characters = [...lower];
  return {
    length: characters.length >= minLength,
    notName: lower !== "" && (name.length < 2 || !lower.includes(name)),
    varied: new Set(characters).size >= DIFFERENT,
    notSimple: lower !== "" && !isRun(characters) && !repeats(characters),
  };
}

/** abcdefgh, 87654321, with the step between 9 and 0. */
function isRun(characters: readonly string[]): boolean {
  const codes = characters.map((one) => one.codePointAt(0) ?? 0);
  const steps = codes.slice(1).map((code, i) => code - (codes[i] ?? 0));
  return steps.every((step) => step === 1 || step === -9) || steps.every((step) => step === -1 || step === 9);
}

/** One short piece again and again. */
function repeats(characters: readonly string[]): boolean {
  return [1, 2, 3, 4].some((size) => characters.every((one, i) => one === characters[i % size]));
}
