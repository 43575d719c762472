import "../styles/base.css";
import "../styles/console.css";
import { render } from "preact";
import { Console } from "../console/frame.tsx";
import { installKeys } from "../console/keys.ts";
import { ConsoleModel } from "../console/model.ts";
import { installIcons } from "../icon.tsx";
import { readInitial } from "../initial.ts";
import { startLanguage } from "../language.ts";
import { startTheme } from "../theme.ts";

const initial = readInitial();
startTheme();
startLanguage(initial.language);
installIcons();
const model = new ConsoleModel(initial);
render(<Console model={model} />, document.getElementById("app") as HTMLElement);
installKeys(model);
model.start();
