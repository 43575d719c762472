import "../styles/base.css";
import "../styles/phone.css";
import "../styles/phone-talk.css";
import { SPRITE } from "virtual:phone-icons";
import { render } from "preact";
import { installIcons } from "../icon.tsx";
import { readInitial } from "../initial.ts";
import { startLanguage } from "../language-choice.ts";
import { PhoneModel } from "../phone/model.ts";
import { Phone } from "../phone/view.tsx";
import { startTheme } from "../theme.ts";

const initial = readInitial();
startTheme();
await startLanguage(initial.language);
installIcons(SPRITE);
const model = new PhoneModel(initial);
render(<Phone model={model} />, document.getElementById("app") as HTMLElement);
model.start();
