/** Every sentence in English, by area: fetched when somebody wants it. */
import { causes } from "./causes.ts";
import { common, errors } from "./common.ts";
import { console } from "./console.ts";
import { enter } from "./enter.ts";
import { health } from "./health.ts";
import { phone } from "./phone.ts";
import { phoneTalk } from "./phone-talk.ts";
import { radio } from "./radio.ts";
import { boxes } from "./radio-boxes.ts";
import { talk, talkCauses } from "./talk.ts";

export const ENGLISH = {
  boxes,
  causes,
  common,
  console,
  enter,
  errors,
  health,
  phone,
  phoneTalk,
  radio,
  talk,
  talkCauses,
};

export type Area = keyof typeof ENGLISH;
