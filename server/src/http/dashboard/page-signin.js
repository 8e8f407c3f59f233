// The door: an admin's email and password, or a token.

import { h } from "./dom.js";
import { session } from "./api.js";

export function door(then) {
  const wrong = h("p", { class: "error", role: "alert", hidden: true });
  const attempt = async (event, how) => {
    event.preventDefault();
    wrong.hidden = true;
    try {
      then(await session.signIn(how()));
    } catch (error) {
      wrong.textContent = error.code === "ADMIN_ONLY" ? "This account is not an administrator's." : error.message;
      wrong.hidden = false;
    }
  };
  const email = h("input", { type: "email", name: "email", autocomplete: "username", required: true });
  const password = h("input", { type: "password", name: "password", autocomplete: "current-password", required: true });
  const token = h("input", { type: "password", name: "token", autocomplete: "off", required: true });
  return h(
    "div",
    { class: "door" },
    h(
      "main",
      { id: "main" },
      h("h1", { class: "brand" }, h("img", { src: "/dashboard/icon.svg", alt: "" }), "Dramatis"),
      h("p", { class: "lede" }, "A cast of personas uses your app. Sign in to see how it goes."),
      wrong,
      h(
        "form",
        { class: "card", on: { submit: (event) => attempt(event, () => ({ token: token.value })) } },
        h("h2", null, "With a token"),
        h("p", { class: "quiet" }, "On the machine that runs it: ", h("code", null, "dramatis token")),
        h("label", null, "Token", token),
        h("button", { class: "main" }, "Sign in with the token"),
      ),
      h(
        "form",
        { class: "card", on: { submit: (event) => attempt(event, () => ({ email: email.value, password: password.value })) } },
        h("h2", null, "With an admin account"),
        h("label", null, "Email", email),
        h("label", null, "Password", password),
        h("button", null, "Sign in"),
      ),
    ),
  );
}
