/** What the server wrote into the page (`web_console/views.py`). */
export type Language = "zh-CN" | "en";

interface User {
  id: string;
  name: string;
  role: string;
  permissions: string[];
}

export interface Initial {
  setUp: boolean;
  user: User | null;
  csrf: string;
  server: { name: string; level: string; version: string };
  language: Language;
  passwordMinLength: number;
  joinLinkHours: number;
  maxJoinLinkHours: number;
  next: string;
}

export function readInitial(): Initial {
  return JSON.parse(document.getElementById("initial")?.textContent ?? "") as Initial;
}
