"""What a text holds that a clinician would miss: doses and values, warnings, and words of care and disease."""

import re
from typing import Final

CLINICAL: Final = 2
"""With this weight, a text is clinical."""

DOSE = re.compile(
    r"""
    \d \s? (?: (?:[mµμ]|mc|n|k)?g (?:/|\b) | [mµμdc]?[lL] (?:/|\b) | [mµμn]?mol | m?Eq | m?[Uu]nits? \b | I?U \b
           | mm\s?Hg | mm[²2] \b | °\s?[CF] \b | (?:times|x) \s (?:a|per|daily)
           | (?:tablet|capsule|puff|drop|dose|spoon|ampoule|vial|suppositor|injection) | \s?% (?=\s of | \s?[)<>≤≥]) )
  | [<>≤≥±] \s? \d | \( \s? [+−–-] \s? \) | × \s? 10 | \d \^ | \d \s? % \s CI \b
    """,
    re.VERBOSE,
)
WARNING = re.compile(
    r"""
    \b (?: contra-?indicat | overdos | teratogen | anaphyla | life-?threatening | side[ -]effects? \b | pregnan
        | adverse[ ](?:event|effect|reaction|drug) | breast-?feed
        | do[ ]not[ ](?:give|take|use|prescribe|inject|exceed|stop|start|combine)
        | (?:must|should)[ ](?:not|never)[ ]be[ ](?:given|taken|used|prescribed|combined)
        | (?:never|avoid)[ ](?:giv|us|tak|inject|combin|in[ ]pregnan|alcohol)
        | (?:never|not)[ ](?:within|before|after|more[ ]than|below|above|under|over)[ ]\d
        | stop[ ]the[ ](?:drug|treatment|infusion|medicine) )
    """,
    re.VERBOSE | re.IGNORECASE,
)
WORD = re.compile(
    r"""
    \b (?: abscess | acute | aids?\b | allerg | anaemi | anemi | analges | ana?esthe | antibiotic
        | anti(?:bod|coag|depress|viral|fung|hist) | arter | arthrit | asthma | autoimmun | bacteri | biops | bleed
        | blood | bone | cancer | carcino | cardi | care[ ](?:home|plan|worker) | catheter | chemotherap | chronic
        | clinic | clot | congenital | cough | creatinine | cyst | deliri | dementia | depressi | diabet | diagnos
        | dialys | diarrh | diseas | disorder | doctor | dos(?:e|es|age|ing)\b | drugs?\b | eczema | emergency | epilep
        | faint | fatal | feve | fractur | gp\b | ha?emo | heart | hepat | hiv\b | hormon | hospital | hypert | hypo[tg]
        | immun | infarct | infect | inflamm | infus | inject | insulin | intravenous | kidney | lesion | leuka?emi
        | liver | lung | lymph | malari | medicat | medicin | mening | metasta | migraine | mortal | nausea | neonat
        | neuro | neutro | nurs(?:e|ing) | onset | oral(?:ly)?\b | pa?ediatric | pain | palliat | paraly | patient
        | pharmac | physician | placebo | plasma | platelet | pneumon | poison | prescri | prognos | prophyla | psych
        | pulmon | radiother | rash | relapse | renal | respirat | resuscit | scan | screening | seizure | sepsis
        | septic | serum | stroke | surg | swell | swollen | symptom | syndrome | tablet | therap | thromb | tissue
        | toxic | transfus | transplant | trauma | treat(?:ed|ment) | tumou?r | ulcer | urin | vaccin | vein | viral
        | virus | vomit | ward\b | warning | weakness | withdrawal | wound )
    """,
    re.VERBOSE | re.IGNORECASE,
)


def clinical(text: str) -> int:
    """The weight of what a text holds: a dose, a value with a sign or a warning has 2, any other clinical word 1."""
    return 2 * (len(DOSE.findall(text)) + len(WARNING.findall(text))) + len(set(map(str.lower, WORD.findall(text))))
