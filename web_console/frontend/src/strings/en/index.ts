/** Every sentence in English, by area: fetched when somebody wants it. */
import type { Dictionaries } from "../../language.ts";
import { audit, auditPage, auditProblems } from "./audit.ts";
import { calls } from "./calls.ts";
import { cards } from "./cards.ts";
import { causes } from "./causes.ts";
import { common, errors } from "./common.ts";
import { console } from "./console.ts";
import { deeds } from "./deeds.ts";
import { enter } from "./enter.ts";
import { health } from "./health.ts";
import { phone } from "./phone.ts";
import { phoneTalk } from "./phone-talk.ts";
import { radio } from "./radio.ts";
import { boxes } from "./radio-boxes.ts";
import { side } from "./side.ts";
import { talk, talkCauses } from "./talk.ts";

export const ENGLISH = {
  audit,
  auditPage,
  auditProblems,
  boxes,
  calls,
  cards,
  causes,
  common,
  console,
  deeds,
  enter,
  errors,
  health,
  phone,
  phoneTalk,
  radio,
  side,
  talk,
  talkCauses,
} satisfies Dictionaries;
