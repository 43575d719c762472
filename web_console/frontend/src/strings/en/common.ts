import type { commonStrings, errorStrings } from "../common.ts";

export const common: Record<keyof typeof commonStrings, string> = {
  language: "Language",
  other_language: "中文",
  product: "Fengsui",
  slogan: "Emergency command: communications and video dispatch",
  level_province: "Province",
  level_city: "City",
  level_county: "County",
  level_township: "Township",
  level_vehicle: "Command vehicle",
  close: "Close",
  what_failed: "{what} failed",
  next_step: "Next: {step}",
  retry_in: "Try again in {n} s",
};

export const errors: Record<keyof typeof errorStrings, string> = {
  not_logged_in: "Your log-in is no longer valid|Log in again",
  forbidden: "This account may not do that|Ask an administrator for the right, or use another account",
  bad_request: "What was sent is not correct|Change it as shown and send it again",
  bad_sdp:
    "The server did not accept this browser's media offer|Reload the page; if that does not help use a recent Chrome, Edge or Firefox",
  too_large: "Too much was sent|Send less and try again",
  not_found: "It no longer exists|The list is up to date now: choose again",
  conflict: "It does not fit the present state|Look at the present state, then decide",
  stream_not_live: "This video is not being sent|It appears by itself when the device is back",
  codec: "No codec in common|Set the device to H.264 or VP8",
  address_not_admitted:
    "The address is in no admitted network|Have the network admitted in the configuration",
  too_many: "Too many attempts|Wait a little, then try again",
  overloaded: "The server is busy|Wait a little, then try again",
  unavailable: "Part of the server is not available|It comes back by itself; if not, look at Health",
  media_away: "The media service is restarting|It is back in a few seconds",
  busy: "The other end is in a call|Call again later",
  no_path: "This device has no sound path|Start the shift; else check the network to the media port",
  storage_away: "The database is not available|Check disk space and the database",
  internal:
    "The server made an error|Try again; if it happens again, give the diagnostics to an administrator",
  unknown_command: "The server does not know this action|Reload the page to get its present version",
  expired: "It has expired|Get a new one",
  revoked: "It was revoked|Ask the duty officer for a new one",
  not_set_up: "The system is not set up yet|Open /setup first",
  already_set_up: "The system is already set up|Log in",
  wrong_code:
    "The set-up code is wrong or no longer valid|Look at the one-time code that the server printed at its start; a restart makes a new one",
  wrong_credentials: "User name or password is wrong|Check capitals and input method, then try again",
  weak_password: "The password does not meet the rules|Choose another by the rules below",
  offline: "The server cannot be reached|Check the network; try again when it is back",
  unknown_outcome:
    "The connection broke; it is not known whether it was done|Check first, then decide whether to repeat it",
};
