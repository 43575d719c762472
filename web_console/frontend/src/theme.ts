import { signal } from "@preact/signals";
import { load, save } from "./storage.ts";

export const THEMES = ["dark", "light", "contrast"] as const;
type Theme = (typeof THEMES)[number];

const KEY = "theme";

export const theme = signal<Theme>("dark");

export function startTheme(): void {
  const kept = load<string>(KEY, "");
  setTheme(THEMES.find((one) => one === kept) ?? "dark", false);
}

export function setTheme(value: Theme, keep = true): void {
  theme.value = value;
  document.documentElement.dataset.theme = value;
  if (keep) save(KEY, value);
}
