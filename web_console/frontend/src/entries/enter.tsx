import "../styles/base.css";
import "../styles/enter.css";
import { render } from "preact";
import { installIcons } from "../icon.tsx";
import { readInitial } from "../initial.ts";
import { startLanguage } from "../language-choice.ts";
import { startTheme } from "../theme.ts";
import { Enter } from "../views/enter.tsx";

const initial = readInitial();
startTheme();
await startLanguage(initial.language);
installIcons();
render(<Enter initial={initial} />, document.getElementById("app") as HTMLElement);
