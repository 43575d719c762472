/** Groups as cards, and what is done with them. */
import { translator } from "../language.ts";

const zh = {
  groups_none: "还没有对讲组。点右上角“＋”新建。",
  group_new: "新建组",
  group_more: "{name}：更多",
  heard_by: "{n} 个终端在听",
  in_patch: "互通 {name}",
  patch_mode: "互通模式",
  patch_hint: "依次点选两个以上的组",
  patch_chosen: "已选 {n} 组",
  patch_make: "互通",
  call_unit_full: "双工呼叫",
  call_unit_half: "半双工呼叫",
  hold: "按住 1.5 秒",
  holding: "继续按住…",
} as const;

export const cardStrings = zh;
export const cardWord = translator("cards", zh);
