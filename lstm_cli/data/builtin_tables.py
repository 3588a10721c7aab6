"""The words and templates of `builtin:reviews`, all written for this package. `builtin.py` combines them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

# Words. In each list, every split uses the entries before the `|`; those after it are held out. A held-out topic,
# person, day or adverb occurs in test only. A held-out polarity word is never negated in train.

ADJECTIVES = (
    "superb;wonderful;delightful;charming;excellent;brilliant;lovely;splendid;terrific;fantastic;marvellous;"
    "impressive;pleasant;enjoyable;great;good"
    " | outstanding;magnificent;satisfying;exceptional;stunning;glorious;fabulous;amazing;memorable;perfect",
    "awful;terrible;dreadful;dismal;dull;dire;horrible;lousy;disappointing;poor;unimpressive;wretched;unpleasant;"
    "mediocre;underwhelming;bad"
    " | pathetic;miserable;boring;atrocious;abysmal;grim;appalling;forgettable;shoddy;lacklustre",
)
NOUNS = (
    "a joy;a delight;a triumph;a treat;a gem;a marvel | a pleasure;a winner;a success;a wonder",
    "a mess;a disaster;a fiasco;a letdown;a calamity;a failure | a nightmare;a shambles;a dud;a flop",
)
STORY = (
    "gripping;inventive;absorbing;moving | assured;heartfelt",
    "lifeless;predictable;tedious;muddled | dreary;contrived",
)


@dataclass(frozen=True, slots=True)
class Domain:
    """The words of one kind of review.

    A template whose name begins with a scope is used only with the domains of that scope.
    """

    scope: Literal["lasting", "story"]
    kinds: str
    aspects: str
    places: str
    positive: str
    negative: str
    asides: str


DOMAINS = (
    Domain(
        "story",
        "film;movie;thriller;comedy;drama;sequel;play | documentary;western;musical;remake",
        "plot;ending;dialogue;acting;story;pacing;script;opening;final act;humour | soundtrack;casting;finale;twist",
        "of this {kind};of {name}",
        *STORY,
        "I saw it in {name} on {day};I had not read about it;I never watch trailers;we sat close to the screen;"
        "it ran for {number} hours | a stranger lent me the ticket;the usher wore a top hat",
    ),
    Domain(
        "story",
        "novel;book;memoir;thriller;biography | paperback;fable;saga",
        "plot;ending;dialogue;story;writing;first chapter;middle part;hero | prologue;epilogue;heroine;narrator",
        "of this {kind};of {name}",
        *STORY,
        "I read it on the train to {name};I had not heard of the author;I never skip pages;it has {number} chapters;"
        "it lay on my desk until {day} | I borrowed it from a neighbour;the cover shows a lighthouse",
    ),
    Domain(
        "lasting",
        "bistro;diner;tavern;bakery;cafe;restaurant | brasserie;canteen;pizzeria;steakhouse",
        "soup;bread;curry;pasta;fish;stew;roast;salad;pudding;omelette | risotto;chowder;lasagne;goulash;brisket",
        "at this {kind};at {name}",
        "delicious;tasty | appetising;flavoursome",
        "tasteless;bland | inedible;revolting",
        "we ate at {name} on {day};we had not booked;we are never in a hurry;we sat far from the door;"
        "there were {number} of us | the waiter hummed a waltz;our bill came on a saucer",
    ),
    Domain(
        "lasting",
        "hotel;hostel;inn;guest house;lodge | motel;resort;chalet;villa",
        "room;bathroom;lobby;bedroom;lounge;dining room;garden;pool | sauna;terrace;suite;balcony;courtyard",
        "of this {kind};of the {name}",
        "spotless;comfortable | cosy;tidy",
        "filthy;shabby | cramped;grubby",
        "we stayed in {name} for {number} nights;we did not bring the dog;I never travel by car;"
        "it is far from the station;we arrived on {day} | a ferry runs every morning;the porter collects stamps",
    ),
    Domain(
        "lasting",
        "phone;laptop;tablet;camera;printer;radio | drone;router;smartwatch;projector;blender",
        "screen;battery;keyboard;charger;app;speaker;menu;software | touchpad;hinge;stylus;firmware;microphone",
        "of this {kind};of my {kind}",
        "reliable;responsive | dependable;handy",
        "unreliable;faulty | sluggish;glitchy",
        "I ordered it from {name} on {day};I did not buy a cover;I never read manuals;I use it far from home;"
        "it weighs {number} pounds | the parcel came by bicycle;mine is the silver model",
    ),
    Domain(
        "lasting",
        "series;podcast;show;column;magazine | vlog;newsletter;sitcom;quiz",
        "humour;writing;storytelling;commentary;theme;opening;music;advice | banter;narration;jingle;editorial",
        "of this {kind};of {name}",
        *STORY,
        "they make it in {name};I did not know the host;I never miss an episode;it comes out on {day};"
        "I know {number} people who follow it | my barber recommended it;the logo is a teapot",
    ),
)
TEST_DOMAIN = Domain(
    "lasting",
    "museum;gallery;aquarium;zoo",
    "exhibition;guided tour;display;gift shop;map;cloakroom",
    "at this {kind};at {name}",
    "absorbing;inventive",
    "predictable;muddled",
    "we went to {name} on {day};we did not buy a guide;we walked for {number} hours;it is far from the harbour",
)

FILLS = {
    "who": "my brother;my sister;my wife;my husband;my boss;my neighbour;my friend;the critic;the guide;everyone;"
    "the man next to me | my cousin;my dentist;my landlord;the blogger;my colleague;my grandmother",
    "day": "Monday;Tuesday;Wednesday;Thursday;Friday | Saturday;Sunday;my birthday;payday",
    "number": "two;three;four;five;six;ten | seven;nine;twelve",
}
SYLLABLES = (
    "Bel;Cor;Dun;Fal;Gar;Hol;Kel;Lor;Mar;Nor;Pel;Ros;Tam;Ul;Ver;Win",
    "a;am;ber;de;en;ing;la;o;ri;sel;ver",
    "bridge;bury;by;dale;fell;ford;gate;ham;ley;mere;mouth;stead;ton;well;wick;worth",
)
CLOSERS = (
    "that is all I have to say;we left on {day};I paid for it myself;nobody paid me to say so;I do not write many "
    "reviews;I told {who} about it | my umbrella was dripping;it rained all week"
)
ADVERBS = (
    "truly;really;simply;just;quite;frankly;honestly;clearly;nothing short of | plainly;decidedly;undeniably"
)
ADJECTIVE_ADVERBS = "absolutely;thoroughly;genuinely;so;downright | remarkably;exceedingly"
NOUN_ADVERBS = "such;nothing but | nothing less than"
NEGATORS = (
    "not at all;not in the least;not remotely;far from;anything but;by no means;in no way;nowhere near;"
    "the opposite of | not by any means;very far from;not in any way"
)
FINITE_NEGATORS = "never;never once | never at all;not once"  # these follow only "is" and "was"

# Templates. {C} and {B} agree with the verdict, {D} and {E} contradict it; {c} and {d} do the same, as adjectives
# with no modifier. In a pair, the first text agrees with {X} or {x}, the second contradicts it. {s} and {t} are two
# aspects of the {kind} under review. A name that begins with "lasting" or "story" is for domains of that scope.

PLAIN = {
    "was": "{s} was {C}.",
    "found": "I found {s} {C}.",
    "ask": "if you ask me, {s} was {C}.",
    "and": "{s} was {C} and {t} was {B}.",
    "too": "I found {s} {C}, and {t} was {B} too.",
    "turned-out": "{s} turned out to be {C}.",
    "with": "it was a {c} {kind}, and I call {t} {B}.",
    "such": "such a {c} {kind}! I call {t} {B}.",
    "agree": "{who} called {s} {C}, and I call {t} {B} as well.",
    "still": "I used to find {s} {C}, and now I find {t} {B} as well.",
    "lasting-still": "{s} used to be {C}, and it is still {B}.",
    "as-expected": "I expected {s} to be {C}, and as expected it was {B}.",
}
CONTRAST = {
    "called-found": "{who} called {s} {D}, but I found it {C}.",
    "found-called": "I found {s} {C}, but {who} called it {D}.",
    "what-they-call": "what {who} calls {D}, I call {C}: I mean {s}.",
    "what-i-call": "what I call {C}, {who} calls {D}: I mean {s}.",
    "expected-was": "I expected {s} to be {D}, and it was {C}.",
    "was-expected": "{s} was {C}, and I expected it to be {D}.",
    "expected-turned": "I expected that {s} would be {D}, but it turned out to be {C}.",
    "turned-expected": "{s} turned out to be {C}, but I expected that it would be {D}.",
    "read-was": "I had read that {s} was {D}, yet it was {C}.",
    "was-read": "{s} was {C}, yet I had read that it was {D}.",
    "could-was": "{s} could have been {D}, but it was {C}.",
    "was-could": "{s} was {C}, but it could have been {D}.",
    "if-listen": "if {who} says that {s} was {D}, do not listen: it was {C}.",
    "listen-if": "{s} was {C}: do not listen if {who} says that it was {D}.",
    "used-now": "I used to find {s} {D}, but now I find it {C}.",
    "now-used": "now I find {s} {C}, but I used to find it {D}.",
    "some-me": "some would call {s} {D}, but to me it was {C}.",
    "me-some": "to me {s} was {C}, but some would call it {D}.",
    "part-whole": "{t} was {D}, but on the whole this {kind} was {C}.",
    "whole-part": "on the whole this {kind} was {C}, but {t} was {D}.",
    "expected-got": "I expected a {d} {kind} and I got a {c} one.",
    "got-expected": "I got a {c} {kind} and I expected a {d} one.",
    "not-but": "{s} was not {d} but {c}.",
    "and-not": "{s} was {c} and not {d}.",
    "lasting-used": "{s} used to be {D}, but now it is {C}.",
    "lasting-now": "now {s} is {C}, but it used to be {D}.",
    "lasting-last-year": "last year {s} was {D}, but this year it is {C}.",
    "lasting-this-year": "this year {s} is {C}, but last year it was {D}.",
    "lasting-once": "{s} was once {D} and is now {C}.",
    "lasting-is-now": "{s} is now {C} and was once {D}.",
    "story-first": "{s} was {D} at first, but {C} by the end.",
    "story-end": "{s} was {C} by the end, but {D} at first.",
    "story-at-first": "at first {s} was {D}, but by the end it was {C}.",
    "story-by-the-end": "by the end {s} was {C}, but at first it was {D}.",
    "story-found": "at first I found {s} {D}, but by the end I found it {C}.",
    "story-end-found": "by the end I found {s} {C}, but I found it {D} at first.",
}
PAIRS = {
    "more": (
        "{who} called {s} {X}, and I could not agree more.",
        "{who} called {s} {X}, and I could not disagree more.",
    ),
    "would": ("{who} would be right to call {s} {X}.", "{who} would be wrong to call {s} {X}."),
    "said": (
        "{who} said that {s} would be {X}, and {who} was right.",
        "{who} said that {s} would be {X}, and {who} was wrong.",
    ),
    "call": ("anybody would call {s} {X}.", "nobody would call {s} {X}."),
    "deny": ("nobody could deny that {s} was {X}.", "nobody could claim that {s} was {X}."),
    "I-said": (
        "I said that {s} would be {X}, and I was right.",
        "I said that {s} would be {X}, and I was wrong.",
    ),
    "thought": ("I thought {s} to be {X}, and I was right.", "I thought {s} to be {X}, and I was wrong."),
    "right-wrong": (
        "I said that {s} would be {x} and {who} said that it would not. I was right and {who} was wrong.",
        "I said that {s} would be {x} and {who} said that it would not. I was wrong and {who} was right.",
    ),
    "never-always": (
        "I never complain, and {s} was always {x}.",
        "I always complain, and {s} was never {x}.",
    ),
    "far-close": ("far from home I found {s} close to {x}.", "close to home I found {s} far from {x}."),
}

# Held out: each combines constructions that train contains one at a time.
TEST_CONTRAST = {
    "expected-found": "I expected {s} to be {D}, but I found it {C}.",
    "was-called": "{s} was {C}, yet {who} called it {D}.",
    "could-turned": "{s} could have been {D}, but it turned out to be {C}.",
    "turned-read": "{s} turned out to be {C}, yet I had read that it was {D}.",
    "if-found": "if {who} says that {s} is {D}, do not listen: I found it {C}.",
    "found-not-but": "I found {s} not {d} but {c}.",
    "some-two": "some would call {s} {D} and {who} called it {E}, but I found it {C}.",
    "called-too": "{who} called {s} {D}, but I found it {C}, and {t} was {B} too.",
    "lasting-two": "{s} used to be {D} and last year it was {E}, but now it is {C}.",
    "story-was-found": "at first {s} was {D}, but by the end I found it {C}.",
    "story-found-was": "by the end I found {s} {C}, but at first it was {D}.",
}
TEST_PAIRS = {
    "would-deny": ("nobody would deny that {s} is {X}.", "nobody would claim that {s} is {X}."),
    "expected-right": (
        "I expected {s} to be {X}, and I was right.",
        "I expected {s} to be {X}, and I was wrong.",
    ),
}
