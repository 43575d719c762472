/**
 * The page's language and the lookup of its sentences. Switching redraws everything: two languages never mix. Chinese
 * comes with the page, English when it is wanted.
 */
import { signal } from "@preact/signals";
import type { Language } from "./initial.ts";
import { load, save } from "./storage.ts";
import type { Area } from "./strings/en/index.ts";

const KEY = "language";

export const language = signal<Language>("zh-CN");
let english: Readonly<Record<Area, Readonly<Record<string, string>>>> | null = null;

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
    english ??= (await import("./strings/en/index.ts")).ENGLISH;
    return true;
  } catch {
    return false;
  }
}

export type Values = Record<string, string | number>;
export type Dictionary<K extends string> = Readonly<Record<K, string>>;

/** Replace `{name}` in a sentence. */
export function fill(sentence: string, values: Values): string {
  return sentence.replace(/\{(\w+)\}/g, (whole, name: string) =>
    name in values ? String(values[name]) : whole,
  );
}

/** The `t` of one area of the product: a key of its dictionary, and values for the sentence's `{names}`. */
export function translator<K extends string>(area: Area, zh: Dictionary<K>) {
  return (key: K, values: Values = {}): string => {
    const translated = language.value === "en" ? english?.[area][key] : undefined;
    return fill(translated ?? zh[key], values);
  };
}
