/** The page's language and the lookup of its sentences. Switching redraws everything: two languages never mix. */
import { signal } from "@preact/signals";
import type { Language } from "./initial.ts";
import { load, save } from "./storage.ts";

const KEY = "language";

export const language = signal<Language>("zh-CN");

export function startLanguage(ofServer: Language): void {
  const chosen = load<string>(KEY, "");
  setLanguage(chosen === "zh-CN" || chosen === "en" ? chosen : ofServer, false);
}

export function setLanguage(value: Language, keep = true): void {
  language.value = value;
  document.documentElement.lang = value;
  if (keep) save(KEY, value);
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
export function translator<K extends string>(zh: Dictionary<K>, en: Dictionary<K>) {
  return (key: K, values: Values = {}): string => fill((language.value === "en" ? en : zh)[key], values);
}
