/**
 * The keys that work everywhere, also in a text field, under an input method and in a dialog: heard before anything else
 * on the page. By `event.code`; a foot pedal is mapped to F8.
 */
import type { Desk } from "./desk.ts";

export const RIGHT_CTRL = "talk-right-ctrl"; // storage key: right Ctrl talks as well

export function installTalkKeys(desk: Desk, alsoRightCtrl: () => boolean): void {
  const act = (event: KeyboardEvent): boolean => {
    switch (event.code) {
      case "F8":
        if (!event.repeat) desk.talkDown("F8", event.shiftKey);
        return true;
      case "F9":
        if (!event.repeat) desk.allCallDown("F9");
        return true;
      case "ControlRight":
        if (!alsoRightCtrl()) return false;
        if (!event.repeat) desk.talkDown("ControlRight", event.shiftKey);
        return true;
      case "F2":
        if (!event.repeat) void desk.recall();
        return true;
      case "F4":
        if (!event.repeat) desk.openAlarm();
        return true;
      default:
        return false;
    }
  };
  addEventListener(
    "keydown",
    (event) => {
      if (event.altKey || event.metaKey) return;
      if (event.ctrlKey && event.code !== "ControlRight") return;
      if (act(event)) event.preventDefault();
    },
    true,
  );
  addEventListener(
    "keyup",
    (event) => {
      if (["F8", "F9", "ControlRight"].includes(event.code)) desk.talk.up(event.code);
      if (["F8", "F9", "F2", "F4"].includes(event.code)) event.preventDefault();
    },
    true,
  );
}
