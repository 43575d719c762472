/** The page's language, and the lookup of its sentences: Chinese comes with the page, English when it has been fetched. */
import { signal } from "@preact/signals";
import type { Language } from "./initial.ts";

/** Areas of the product. Each has a dictionary in `strings/`, and one in English in `strings/en/`. */
type Area =
  | "audit"
  | "auditPage"
  | "auditProblems"
  | "boxes"
  | "calls"
  | "cards"
  | "causes"
  | "common"
  | "console"
  | "deeds"
  | "enter"
  | "errors"
  | "health"
  | "phone"
  | "phoneTalk"
  | "radio"
  | "side"
  | "talk"
  | "talkCauses";

type Dictionary<K extends string> = Readonly<Record<K, string>>;
export type Dictionaries = Readonly<Record<Area, Dictionary<string>>>;
type Values = Record<string, string | number>;

export const language = signal<Language>("zh-CN");
let english: Dictionaries | null = null;

export function learnEnglish(dictionaries: Dictionaries): void {
  english = dictionaries;
}

/** The `t` of one area of the product: a key of its dictionary, and values for the sentence's `{names}`. */
export function translator<K extends string>(area: Area, zh: Dictionary<K>) {
  return (key: K, values: Values = {}): string => {
    const translated = language.value === "en" ? english?.[area][key] : undefined;
    return fill(translated ?? zh[key], values);
  };
}

/** Replace `{name}` in a sentence. */
function fill(sentence: string, values: Values): string {
  return sentence.replace(/\{(\w+)\}/g, (whole, name: string) =>
    name in values ? String(values[name]) : whole,
  );
}
