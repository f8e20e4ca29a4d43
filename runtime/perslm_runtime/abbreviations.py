"""The one table of words that decide what a full stop or a comma means, for English, German, Spanish and French.

All words are in lower case and written as before the last dot ("e.g" for "e.g."). A word stands where it is
commonest: a doubt costs at most a sentence that is spoken together with the next one.
"""

from __future__ import annotations


def _words(table: str) -> frozenset[str]:
    return frozenset(table.split())


NEVER_LAST = _words(
    """
    mr mrs ms mx dr drs prof mt vs approx cf viz e.g eg i.e ie
    dipl habil hl bzw z.b zb d.h dh sog ggf evtl inkl exkl zzgl bspw vgl
    srta sres p.ej aprox
    mme mmes mlle mlles mgr p.ex c.-à-d env
    """
)
"""Titles, and words after which a sentence always goes on."""

MAY_BE_LAST = _words(
    """
    a.m p.m u.s u.k u.n d.c b.c a.d ph.d m.d b.a m.a
    jr sr inc ltd co corp bros dept est st ave blvd rd ft
    rev hon gen col maj capt lt sgt gov pres sen rep
    hr fr ing med ca u.a ugs geb str mio mrd mill tsd std jh jhd n.chr v.chr
    sra dra ud uds ee.uu cía s.a av
    """
)
"""The sentence ends here only where the next word often starts one: "in the U.S. It is", but "the U.S. Army"."""

BEFORE_NUMBER = _words(
    """
    no nos pp pg vol fig figs sec ch chap ver tel jan feb apr aug sep sept oct nov dec
    nr nrn abb tab art abs kap ziff bd okt dez
    núm num pág pag cap ene abr ago dic tél janv févr avr juil déc
    """
)
"""Abbreviations only where a number follows: "No. 5", but "No. I will not."."""

STARTERS = _words(
    """
    the it he she we they you i this that these those there here then if when but and so my your our his her its
    what how why who where which do does did is are was were can could would should will have has please let yes no
    now today tomorrow tonight yesterday after before for in on at with to as because however also once since while
    not next first finally it's that's there's i'm i'll you're we're they're don't let's
    der die das es er sie wir ihr ich du ein eine dann wenn aber und heute morgen gestern dort hier danach doch
    el la los las un una yo tú usted ella nosotros ellos pero y si cuando hoy mañana ayer entonces
    le les une il elle nous vous ils elles je tu c'est mais et quand alors hier demain aujourd'hui ce cette
    """
)
"""Words that, written with a capital, most often start a sentence."""

BEFORE_ORDINAL = _words(
    "am der die das den dem des vom zum zur im ab bis seit jeder jede jedes jeden mein dein sein ihr unser"
)
"""German words before a numbered thing: "am 3. Oktober", "der 21. Geburtstag"."""

MONTHS = _words(
    """
    januar jänner februar märz april mai juni juli august september oktober november dezember
    jan feb mär apr jun jul aug sep sept okt nov dez
    """
)
"""German months: the number before one is an ordinal."""

CONJUNCTIONS = _words(
    """
    and but or because so while although though since whereas which
    und aber oder denn weil dass sondern während
    y pero o porque aunque mientras
    et mais ou car parce puisque
    """
)
"""A sentence that is far too long may be spoken in two breaths before one of these."""
