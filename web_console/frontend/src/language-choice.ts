/** Which language the page is in, by the server's wish or a person's. A switch redraws everything: two never mix. */
import type { Language } from "./initial.ts";
import { language, learnEnglish } from "./language.ts";
import { load, save } from "./storage.ts";

const KEY = "language";

export async function startLanguage(ofServer: Language): Promise<void> {
  const chosen = load<string>(KEY, "");
  await setLanguage(chosen === "zh-CN" || chosen === "en" ? chosen : ofServer, false);
}

/** False: English could not be fetched, and the page stays as it is. */
export async function setLanguage(value: Language, keep = true): Promise<boolean> {
  if (value === "en" && !(await fetchEnglish())) return false;
  language.value = value;
  document.documentElement.lang = value;
  if (keep) save(KEY, value);
  return true;
}

export async function fetchEnglish(): Promise<boolean> {
  try {
    learnEnglish((await import("./strings/en/index.ts")).ENGLISH);
    return true;
  } catch {
    return false;
  }
}
