import type { cardStrings } from "../cards.ts";

export const cards: Record<keyof typeof cardStrings, string> = {
  groups_none: "No talk group yet. Make one with “+” above.",
  group_new: "New group",
  group_more: "{name}: more",
  heard_by: "{n} listening",
  in_patch: "Patch {name}",
  patch_mode: "Patch mode",
  patch_hint: "Choose two or more groups",
  patch_chosen: "{n} chosen",
  patch_make: "Patch",
  call_unit_full: "Call, full duplex",
  call_unit_half: "Call, half duplex",
  hold: "hold for 1.5 s",
  holding: "keep holding…",
};
