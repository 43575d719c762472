/** The console's keys, by `event.code`, so that no keyboard layout or input method changes them. */

import { type ConsoleModel, PAGES, type Page } from "./model.ts";
import { listen, tileAction } from "./tile-acts.ts";

const CHORD_S = 1.5;
const TYPED_S = 4;
const MAX_DIGITS = 5;
const PAGE_KEYS: Record<string, Page> = {
  KeyW: "/wall",
  KeyR: "/radio",
  KeyH: "/health",
  KeyA: "/admin/audit",
};

export function installKeys(model: ConsoleModel): void {
  let chordUntil = 0;
  let typedTimer: ReturnType<typeof setTimeout> | undefined;

  const type = (digits: string): void => {
    model.typed.value = digits;
    clearTimeout(typedTimer);
    if (digits) typedTimer = setTimeout(() => type(""), TYPED_S * 1000);
  };

  const single = (event: KeyboardEvent): boolean => {
    const { code } = event;
    const page = PAGE_KEYS[code];
    if (page && model.may(PAGES[page]) && performance.now() < chordUntil) {
      chordUntil = 0;
      model.go(page);
      return true;
    }
    chordUntil = 0;
    const onWall = model.page.peek() === "/wall";
    const slot = /^Digit([1-9])$/.exec(code)?.[1];
    if (slot !== undefined) {
      model.desk.chooseSlot(Number(slot), event.shiftKey);
      return true;
    }
    const digit = /^Numpad(\d)$/.exec(code)?.[1];
    if (digit !== undefined && onWall) {
      type((model.typed.peek() + digit).slice(-MAX_DIGITS));
      return true;
    }
    if (event.key === "?") {
      model.helpOpen.value = true;
      return true;
    }
    switch (code) {
      case "KeyG":
        chordUntil = performance.now() + CHORD_S * 1000;
        return true;
      case "BracketLeft":
        model.togglePanel();
        return true;
      case "BracketRight":
        model.toggleSide();
        return true;
      case "KeyT":
        if (model.may("group.manage")) model.desk.togglePatching();
        return true;
      case "Slash":
        return search(model);
      case "KeyV":
        if (onWall) model.nextLayout();
        return onWall;
      case "KeyM":
        if (muteFocusedGroup(model)) return true;
        if (onWall) listen(model, model.wall.peek().focus);
        return onWall;
      default:
        return onWall && tileAction(model, code);
    }
  };

  document.addEventListener("keydown", (event) => {
    if (event.isComposing || event.altKey || event.metaKey) return;
    const target = event.target as HTMLElement;
    if (event.ctrlKey) {
      if (event.code === "KeyK" && search(model)) event.preventDefault();
      return;
    }
    if (target.closest("input, textarea, select, dialog")) return;
    if ((event.code === "Enter" || event.code === "NumpadEnter") && model.typed.peek()) {
      model.putNumber(model.typed.peek());
      type("");
      event.preventDefault();
      return;
    }
    if (event.code === "Escape" && model.typed.peek()) {
      type("");
      return;
    }
    if (model.singleKeys.peek() && single(event)) event.preventDefault();
  });
}

/** The group whose card has the focus. */
function muteFocusedGroup(model: ConsoleModel): boolean {
  const group = document.activeElement?.closest<HTMLElement>("[data-group]")?.dataset.group;
  if (group) model.desk.mute(group, null);
  return group !== undefined;
}

function search(model: ConsoleModel): boolean {
  model.go("/wall");
  if (!model.panelOpen.peek()) model.togglePanel();
  requestAnimationFrame(() => document.getElementById("search")?.focus());
  return true;
}
