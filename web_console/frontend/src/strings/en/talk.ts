import type { talkCauseStrings, talkStrings } from "../talk.ts";

export const talk: Record<keyof typeof talkStrings, string> = {
  talk_selected: "Selected",
  talk_requesting: "Requesting",
  talk_queued: "Queued {n}/{size}",
  talk_transmitting: "Talking",
  talk_left: "{n} s left",
  talk_receiving: "{name}",
  talk_ending: "ending",
  talk_hang: "Reply {n} s",
  talk_collision: "A radio talks as well",
  talk_muted: "Muted",
  talk_not_listening: "Not heard",
  talk_patch_muted: "Out of patch",
  talk_emergency: "Emergency",
  talk_lost: "Lost",
  talk_lost_since: "Lost since {time}",
  talk_idle: "Free",
  talk_unknown_talker: "Unknown",
  urgency_peril: "Peril",
  urgency_all_call: "All-call",
  urgency_emergency: "Emergency",
};

export const talkCauses: Record<keyof typeof talkCauseStrings, string> = {
  busy: "Busy|Somebody else is talking, and this group has no queue.|Wait until they have finished.",
  queue_full: "Queue full|Too many are waiting to talk.|Press again later; in danger use the emergency call.",
  queue_timeout: "Waited too long|The request was given up after a long wait.|Let go and press again.",
  receive_only:
    "Listen only|You may only listen in this group.|Ask whoever manages the group for the right to talk.",
  no_member:
    "Not in the group|You do not listen to this group or are no member of it.|Select it first, or ask to be added.",
  no_path:
    "No sound path|This device has no sound path to the server; nobody would hear you.|Start the shift; else check the network to the media port.",
  key_held: "Let go first|The key was not let go since the floor was taken away.|Let go, then press again.",
  talk_limit: "Time is up|The time for one transmission is over.|Let go and press again to go on.",
  pre_empted: "Pre-empted|Somebody with higher priority took the floor.|Wait until they have finished.",
  all_call: "All-call|During an all-call only emergencies get through.|Press again when it is over.",
  collision: "Radio talks|A radio is talking, and a radio cannot be refused.|Wait until it has finished.",
  forced: "Forced release|An officer took the floor away.|Let go and press again, or ask the officer.",
  lost: "Signal lost|No sound came from here for more than a second; the floor was freed.|Check the network, let go and press again.",
  ended: "Ended|The group, patch or call is over.|Choose another group.",
  no_permission: "No right to talk|The right to talk here was taken away.|Ask an administrator.",
  media_away: "Media restarting|The media service is starting.|Press again in a few seconds.",
  blur: "Window left|Another window was opened, so the microphone was closed.|Come back to this page and press again.",
  hidden:
    "Page hidden|The page could not be seen, so the microphone was closed.|Come back to this page and press again.",
  offline: "Server lost|The server was lost, so the microphone was closed.|Press again when it is back.",
  device: "Microphone changed|The microphone was unplugged or changed.|Check it, then press again.",
  no_microphone:
    "No microphone|The microphone is not open: nobody would hear you.|Allow the microphone, or connect one, then press again.",
  emergency: "Emergency first|The emergency alarm took the microphone.|Press again when it has been said.",
  no_answer:
    "No answer|The server did not answer in time, so the microphone was closed.|Let go and press again.",
  no_group: "No group|No talk group is selected.|Click a group's card or press 1–9.",
  no_shift: "Shift not started|Sound and microphone are not on yet.|Start the shift first.",
  forbidden: "Not allowed|This account may not talk here.|Ask an administrator for the right.",
};
