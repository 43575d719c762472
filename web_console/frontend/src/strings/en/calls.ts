import type { callStrings } from "../calls.ts";

export const calls: Record<keyof typeof callStrings, string> = {
  call_with: "Call with {name}",
  call_ringing: "Ringing for {n} s",
  call_overridden: "Broken off by a call of higher priority",
  call_incoming: "Incoming call",
  call_accept: "Accept",
  call_decline: "Decline",
  call_on_full: "Full duplex for {n} s, microphone open",
  call_on_half: "Half duplex for {n} s, hold F8 to talk",
  call_hang_up: "Hang up",
  call_declined: "Declined",
  call_unanswered: "No answer",
  call_busy: "Busy",
  call_ended: "The call is over",
  call_lost: "The other end was lost",
};
