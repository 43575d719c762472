/** Private calls. */
import { translator } from "../language.ts";

const zh = {
  call_with: "与 {name} 的单呼",
  call_ringing: "振铃中 {n} 秒",
  call_overridden: "被更高优先级的呼叫打断",
  call_incoming: "来电",
  call_accept: "接听",
  call_decline: "拒接",
  call_on_full: "双工通话中 {n} 秒，话筒开着",
  call_on_half: "半双工通话中 {n} 秒，按住 F8 讲话",
  call_hang_up: "挂断",
  call_declined: "对方拒接",
  call_unanswered: "无人接听",
  call_busy: "对方正忙",
  call_ended: "通话已结束",
  call_lost: "对方失联",
} as const;

export type CallKey = keyof typeof zh;
export const callStrings = zh;
export const callWord = translator("calls", zh);
