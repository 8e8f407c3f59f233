//! What simulated personas write: short lists in each archetype's own voice.
//!
//! Letters beyond ASCII are part of it on purpose, so that ordinary use already carries them through encryption,
//! search and storage.

use super::dice::Dice;

/// An archetype's vocabulary.
#[derive(Debug)]
pub(super) struct Words {
    tasks: [&'static str; 6],
    habits: [&'static str; 5],
    notes: [&'static str; 5],
    sentences: [&'static str; 5],
    tags: [&'static str; 4],
}

/// Names of pictures, for fields that want an icon.
const ICONS: [&str; 8] = ["star", "book", "heart", "leaf", "moon", "drop", "run", "cup"];

impl Words {
    /// The vocabulary of `archetype`; an unknown one speaks plainly.
    pub(super) fn of(archetype: &str) -> &'static Self {
        match archetype {
            "adhd-student" => &STUDENT,
            "ceo-busy" => &BUSY,
            "creative-parent" => &PARENT,
            "solo-dev" => &DEVELOPER,
            "researcher" => &RESEARCHER,
            "freelancer" => &FREELANCER,
            "overwhelmed-newbie" => &NEWCOMER,
            _ => &PLAIN,
        }
    }

    /// Text for the string field `field` of a tool of `module`.
    pub(super) fn text(&self, module: &str, field: &str, dice: &mut Dice) -> String {
        let field = field.to_lowercase();
        let says = |words: &[&str]| words.iter().any(|word| field.contains(word));
        let chosen = if says(&["icon", "emoji"]) {
            dice.pick(&ICONS)
        } else if says(&["color", "colour"]) {
            return format!("#{:06x}", dice.between(0, 0x00ff_ffff));
        } else if says(&["tag", "label", "category"]) {
            dice.pick(&self.tags)
        } else if says(&[
            "content",
            "body",
            "text",
            "description",
            "note",
            "message",
            "comment",
            "reason",
        ]) {
            return self.sentences(dice);
        } else if says(&["query", "search", "filter", "term"]) || field == "q" {
            let title = self.title(module, dice);
            return search_word(&title);
        } else {
            return self.title(module, dice);
        };
        chosen.copied().unwrap_or_default().to_owned()
    }

    fn title(&self, module: &str, dice: &mut Dice) -> String {
        let list: &[&str] = match module {
            "habits" => &self.habits,
            "notes" | "journal" => &self.notes,
            _ => &self.tasks,
        };
        dice.pick(list).copied().unwrap_or_default().to_owned()
    }

    fn sentences(&self, dice: &mut Dice) -> String {
        let count = dice.between(1, 3);
        let picked: Vec<&str> = (0..count)
            .filter_map(|_| dice.pick(&self.sentences).copied())
            .collect();
        picked.join(" ")
    }
}

/// The word of `title` somebody would search for: its longest, the first of equals.
pub(super) fn search_word(title: &str) -> String {
    let words = title
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty());
    let mut longest = "";
    for word in words {
        if word.chars().count() > longest.chars().count() {
            longest = word;
        }
    }
    longest.to_owned()
}

const STUDENT: Words = Words {
    tasks: [
        "hand in statistics sheet — really, today",
        "laundry! (it's been wet since yesterday)",
        "ask Ben about the ferry",
        "find the blue folder",
        "return library books before they hate me",
        "reply to Professor Krüger",
    ],
    habits: [
        "drink water",
        "meds after breakfast",
        "phone outside the bedroom",
        "10 minutes of tidying",
        "walk round the block",
    ],
    notes: [
        "thesis idea, half of one",
        "things people said in the seminar",
        "packing list, bikes",
        "why do I have 14 tabs open",
        "café with working sockets",
    ],
    sentences: [
        "Started this three times and then the doorbell rang.",
        "Memory is reconstruction — quote that, look up the page.",
        "If it takes under two minutes, do it NOW.",
        "Was going to write something else here, gone.",
        "Okay. Breathe. One thing.",
    ],
    tags: ["uni", "asap", "maybe", "brain"],
};

const BUSY: Words = Words {
    tasks: [
        "sign lease",
        "call bank, line of credit",
        "approve payroll",
        "oven 2: technician, Monday",
        "Papá's birthday, 12th",
        "decide: new logo",
    ],
    habits: [
        "walk, no phone",
        "inbox zero by 9",
        "water",
        "leave by 19:00",
        "read one page",
    ],
    notes: [
        "board: three points",
        "Q3 numbers",
        "do not forget: permits",
        "candidates",
        "Łódź supplier",
    ],
    sentences: [
        "Decide by Friday.",
        "Too expensive; ask again.",
        "Delegated.",
        "Numbers do not add up, check truck 14.",
        "No.",
    ],
    tags: ["urgent", "money", "people", "wait"],
};

const PARENT: Words = Words {
    tasks: [
        "pédiatre for Léon, bring the booklet",
        "varnish, size 4 brush, sketch paper",
        "costume for Saturday: something with wings",
        "send page 7 to Kai",
        "bake something without nuts",
        "scan the beetle sketches",
    ],
    habits: [
        "draw one thing before coffee",
        "read aloud at bedtime",
        "stretch while the kettle boils",
        "no screen at dinner",
        "water the basil",
    ],
    notes: [
        "a beetle who is afraid of the dark",
        "colours: wet slate, apricot, moss",
        "what Inès said in the bath",
        "spread 4: too crowded?",
        "birthday cake that looks like a snail",
    ],
    sentences: [
        "She asked whether shadows get tired, and I have no better answer than she had.",
        "The whole left page should be night, with one lit window.",
        "We laughed so much that the soup burned.",
        "Try it again with less ink and more air.",
        "Naïve on purpose, but not sweet.",
    ],
    tags: ["album", "kids", "colour", "évening"],
};

const DEVELOPER: Words = Words {
    tasks: [
        "fix rounding in VAT export",
        "upgrade TLS certificate before it bites",
        "reply: ticket from the plumber in Cork",
        "write a test for leap seconds",
        "tide table off by one at DST",
        "drop the unused index",
    ],
    habits: [
        "ship something small",
        "read a changelog",
        "stand up every hour",
        "backup restore drill",
        "run 5 km",
    ],
    notes: [
        "postmortem: lost webhook",
        "naming: invoice vs. bill",
        "API shape, second try",
        "Gdańsk harbour data source",
        "ideas I will not build",
    ],
    sentences: [
        "Reproduced with two clients and a slow disk.",
        "Cheaper to delete the feature than to explain it.",
        "The timestamp is local here and UTC there; that is the bug.",
        "p99 is fine, p100 is a person.",
        "Zażółć gęślą jaźń — still round-trips.",
    ],
    tags: ["bug", "infra", "later", "customer"],
};

const RESEARCHER: Words = Words {
    tasks: [
        "label specimens 41–56",
        "revise section 3 after review",
        "meet Sato about wing loading",
        "recalibrate the high-speed camera",
        "answer Maya: do beetles sleep?",
        "renew the field permit",
    ],
    habits: [
        "field notes before lunch",
        "read one paper to the end",
        "count what I entered",
        "answer students by noon",
        "tea without a screen",
    ],
    notes: [
        "Observation 06:40, riverbank, 14 °C",
        "カブトムシ: take-off angle",
        "Methods: sampling interval",
        "Contradiction with Tanaka (2019)",
        "Figure 2, second version",
    ],
    sentences: [
        "n = 12; two individuals did not fly and are counted as such.",
        "翅の開く角度は気温とともに大きくなる。",
        "The effect disappears when wind is above 3 m/s.",
        "Same place as yesterday, one hour later.",
        "To verify: is the count before or after moulting?",
    ],
    tags: ["field", "flight", "draft", "標本"],
};

const FREELANCER: Words = Words {
    tasks: [
        "invoice Lucía, second instalment",
        "three logo variants by Thursday",
        "send quote to the bakery",
        "chase the late payment (politely)",
        "export palette for print",
        "walk before lunch, for once",
    ],
    habits: [
        "walk before lunch",
        "log hours at 18:00",
        "no e-mail before coffee",
        "sketch without a client",
        "save receipts",
    ],
    notes: [
        "palette: açaí, lime, paper",
        "minutes of the call",
        "rates for next year",
        "type pairings",
        "what the client said, word for word",
    ],
    sentences: [
        "Approved in the call; waiting for it in writing.",
        "The second version is better and nobody will pick it.",
        "Deadline moved to Monday, same price, of course.",
        "Coração da marca: movement, not speed.",
        "Two hours, forty minutes, including the argument about blue.",
    ],
    tags: ["client", "money", "idea", "prazo"],
};

const NEWCOMER: Words = Words {
    tasks: [
        "buy flour (how much??)",
        "pills, the white ones",
        "call the wedding hall",
        "choir on Tuesday",
        "ask Piotr where this goes",
        "present for Gülşen",
    ],
    habits: [
        "pills in the morning",
        "practise the song",
        "be on time for the early shift",
        "write things down",
        "walk to the market",
    ],
    notes: [
        "password hint",
        "things I did not understand",
        "guests, mother's side",
        "recipe from the radio",
        "is this the right place?",
    ],
    sentences: [
        "I hope this is saved.",
        "Così va bene? I pressed it only once this time.",
        "Somebody said it is easy.",
        "The oven at work beeps and I do not know why.",
        "Düğüne altı ay kaldı, nothing is booked.",
    ],
    tags: ["family", "help", "shop", "important"],
};

const PLAIN: Words = Words {
    tasks: [
        "buy milk",
        "call the dentist",
        "pay the bill",
        "tidy the desk",
        "book a table",
        "post the parcel",
    ],
    habits: ["drink water", "read", "stretch", "walk", "sleep early"],
    notes: [
        "shopping",
        "ideas",
        "from the meeting",
        "to remember",
        "books to read",
    ],
    sentences: [
        "Short and plain.",
        "To be continued.",
        "Ask again next week.",
        "Done for today.",
        "More to follow.",
    ],
    tags: ["home", "work", "later", "new"],
};
