"""Pages whose content is a table or a list: what a clinician looks up most. Written for the tests."""

TABLES = {
    "reference ranges": """\
Test | Low | High | Unit
Na | 135 | 145 | mmol/L
K | 3.5 | 5.1 | mmol/L
Cl | 98 | 107 | mmol/L
HCO3 | 22 | 29 | mmol/L
BUN | 2.5 | 7.8 | mmol/L
Cr | 59 | 104 | µmol/L
Ca | 2.2 | 2.6 | mmol/L
Mg | 0.7 | 1.0 | mmol/L
PO4 | 0.8 | 1.5 | mmol/L
ALT | 0 | 41 | U/L
AST | 0 | 40 | U/L
ALP | 30 | 130 | U/L
Hb | 120 | 160 | g/L
WBC | 4.0 | 10.0 | 10^9/L
Plt | 150 | 400 | 10^9/L
INR | 0.9 | 1.1 |""",
    "paediatric doses by weight": """\
Drug | 5 kg | 10 kg | 15 kg | 20 kg | 30 kg
Paracetamol 15 mg/kg | 75 mg | 150 mg | 225 mg | 300 mg | 450 mg
Ibuprofen 10 mg/kg | 50 mg | 100 mg | 150 mg | 200 mg | 300 mg
Amoxicillin 25 mg/kg | 125 mg | 250 mg | 375 mg | 500 mg | 750 mg
Adrenaline 1:1000 | 0.05 ml | 0.1 ml | 0.15 ml | 0.2 ml | 0.3 ml
Lorazepam 0.1 mg/kg | 0.5 mg | 1 mg | 1.5 mg | 2 mg | 3 mg
Glucose 10 % 2 ml/kg | 10 ml | 20 ml | 30 ml | 40 ml | 60 ml
Ceftriaxone 80 mg/kg | 400 mg | 800 mg | 1.2 g | 1.6 g | 2 g""",
    "drug interactions": """\
- Warfarin: amiodarone, metronidazole, fluconazole, co-trimoxazole
- Simvastatin: clarithromycin, itraconazole, ciclosporin, gemfibrozil
- Methotrexate: trimethoprim, co-trimoxazole, NSAIDs, penicillins
- Lithium: ramipril, bendroflumethiazide, ibuprofen, diclofenac
- Digoxin: verapamil, amiodarone, clarithromycin, spironolactone
- Sildenafil: glyceryl trinitrate, isosorbide mononitrate, nicorandil
- Clopidogrel: omeprazole, esomeprazole, fluvoxamine
- Tramadol: sertraline, fluoxetine, phenelzine, moclobemide
- Theophylline: ciprofloxacin, erythromycin, fluvoxamine, phenytoin
- Azathioprine: allopurinol, febuxostat, mercaptopurine
- Potassium chloride: spironolactone, amiloride, eplerenone, ramipril
- Rifampicin: ethinylestradiol, apixaban, tacrolimus, dolutegravir""",
    "antibiotic formulary": """\
Infection | First line | If allergic | Days
Cystitis | Nitrofurantoin MR 100 mg PO q12h | Trimethoprim 200 mg PO q12h | 3
Pyelonephritis | Cefalexin 1 g PO q8h | Ciprofloxacin 500 mg PO q12h | 7–10
Cellulitis | Flucloxacillin 1 g PO q6h | Clarithromycin 500 mg PO q12h | 7
Pneumonia, CURB-65 0–1 | Amoxicillin 500 mg PO q8h | Doxycycline 200 mg PO, then 100 mg q24h | 5
Pneumonia, CURB-65 ≥3 | Co-amoxiclav 1.2 g IV q8h + clarithromycin 500 mg IV q12h | Levofloxacin 500 mg IV q12h | 7
Meningitis | Ceftriaxone 2 g IV q12h | Chloramphenicol 25 mg/kg IV q6h | 10
C. difficile | Vancomycin 125 mg PO q6h | Fidaxomicin 200 mg PO q12h | 10
Otitis media | Amoxicillin 500 mg PO q8h | Clarithromycin 500 mg PO q12h | 5""",
    "vaccine schedule": """\
Age | Vaccine | Dose | Route | Site
8 weeks | DTaP/IPV/Hib/HepB | 0.5 ml | IM | Left thigh
8 weeks | MenB | 0.5 ml | IM | Left thigh
8 weeks | Rotavirus | 1.5 ml | PO | Mouth
12 weeks | DTaP/IPV/Hib/HepB | 0.5 ml | IM | Left thigh
12 weeks | PCV13 | 0.5 ml | IM | Left thigh
12 weeks | Rotavirus | 1.5 ml | PO | Mouth
16 weeks | DTaP/IPV/Hib/HepB | 0.5 ml | IM | Left thigh
16 weeks | MenB | 0.5 ml | IM | Left thigh
1 year | Hib/MenC | 0.5 ml | IM | Left thigh
1 year | MMR | 0.5 ml | IM | Left thigh
1 year | PCV13 | 0.5 ml | IM | Left thigh
1 year | MenB | 0.5 ml | IM | Left thigh""",
    "ICD codes": """\
- J45.0 Predominantly allergic asthma
- J45.1 Nonallergic asthma
- J45.8 Mixed asthma
- J45.9 Asthma, unspecified
- J46 Status asthmaticus
- J47 Bronchiectasis
- E10.0 Type 1 diabetes mellitus, coma
- E10.1 Type 1 diabetes mellitus, ketoacidosis
- E10.2 Type 1 diabetes mellitus, renal complications
- E10.3 Type 1 diabetes mellitus, ophthalmic complications
- E10.4 Type 1 diabetes mellitus, neurological complications
- E11.0 Type 2 diabetes mellitus, coma
- E11.1 Type 2 diabetes mellitus, ketoacidosis
- E11.2 Type 2 diabetes mellitus, renal complications""",
    "APGAR": """\
Sign | 0 | 1 | 2
Appearance | Blue, pale | Body pink, limbs blue | Pink
Pulse | Absent | <100/min | ≥100/min
Grimace | None | Grimace | Cry, cough
Activity | Limp | Some flexion | Active
Respiration | Absent | Slow, irregular | Good cry
Score | 0–3 severe | 4–6 moderate | 7–10 normal
Repeat | 1 min | 5 min | 10 min""",
    "CURB-65": """\
Criterion | Points
Confusion, AMT ≤8 | 1
Urea >7 mmol/L | 1
Respiratory rate ≥30/min | 1
SBP <90 or DBP ≤60 mmHg | 1
Age ≥65 years | 1
Score 0–1 | Mortality 1.5 %, home
Score 2 | Mortality 9.2 %, ward
Score 3–5 | Mortality 22 %, ICU""",
    "unit conversions": """\
Analyte | SI | Factor | Conventional
Glucose | mmol/L | 18.02 | mg/dL
Cholesterol | mmol/L | 38.67 | mg/dL
Triglycerides | mmol/L | 88.57 | mg/dL
Creatinine | µmol/L | 0.0113 | mg/dL
Bilirubin | µmol/L | 0.0585 | mg/dL
Urate | µmol/L | 0.0168 | mg/dL
Calcium | mmol/L | 4.008 | mg/dL
Phosphate | mmol/L | 3.097 | mg/dL
Magnesium | mmol/L | 2.431 | mg/dL
Haemoglobin | g/L | 0.1 | g/dL""",
    "TNM stages": """\
Stage | T | N | M
IA1 | T1a | N0 | M0
IA2 | T1b | N0 | M0
IA3 | T1c | N0 | M0
IB | T2a | N0 | M0
IIA | T2b | N0 | M0
IIB | T1a–c | N1 | M0
IIB | T2a–b | N1 | M0
IIB | T3 | N0 | M0
IIIA | T1a–c | N2 | M0
IIIA | T2a–b | N2 | M0
IIIA | T3 | N1 | M0
IIIA | T4 | N0–1 | M0
IIIB | T1a–c | N3 | M0
IVA | T1–4 | N0–3 | M1a–b
IVB | T1–4 | N0–3 | M1c""",
    "allergens": """\
- Peanut (Arachis hypogaea)
- Hazelnut (Corylus avellana)
- Walnut (Juglans regia)
- Cashew (Anacardium occidentale)
- Almond (Prunus dulcis)
- Brazil nut (Bertholletia excelsa)
- Cow's milk: casein, lactoglobulin
- Hen's egg: ovalbumin, ovomucoid
- Wheat: gliadin, glutenin
- Soya: glycinin, conglycinin
- Fish: parvalbumin
- Shellfish: tropomyosin
- Sesame (Sesamum indicum)
- Mustard (Brassica nigra)
- Celery (Apium graveolens)
- Lupin (Lupinus albus)
- Molluscs: squid, mussel, oyster
- Sulphites >10 mg/kg""",
    "insulin sliding scale": """\
Glucose mmol/L | Units SC | Units IV/h
<4.0 | 0 | 0
4.1–7.0 | 0 | 0.5
7.1–10.0 | 2 | 1
10.1–13.0 | 4 | 2
13.1–16.0 | 6 | 3
16.1–19.0 | 8 | 4
19.1–22.0 | 10 | 5
22.1–25.0 | 12 | 6
>25.0 | 14 | 7""",
    "warfarin": """\
Day | INR | Dose, mg
1 | <1.4 | 10
2 | <1.8 | 10
2 | 1.8 | 1
2 | >1.8 | 0.5
3 | <2.0 | 10
3 | 2.0–2.1 | 5
3 | 2.2–2.3 | 4.5
3 | 2.4–2.5 | 4
3 | 2.6–2.7 | 3.5
3 | 2.8–2.9 | 3
3 | 3.0–3.1 | 2.5
3 | 3.2–3.3 | 2
3 | >3.5 | 0
4 | <1.4 | >8
4 | 1.4–1.5 | 8
4 | 1.6–1.7 | 7""",
    "emergency drugs": """\
Drug | Dose | Route
Adrenaline | 1 mg | IV
Amiodarone | 300 mg | IV
Atropine | 0.5 mg | IV
Adenosine | 6 mg | IV
Naloxone | 0.4 mg | IV
Glucagon | 1 mg | IM
Hydrocortisone | 200 mg | IV
Chlorphenamine | 10 mg | IV
Salbutamol | 5 mg | neb
Magnesium | 2 g | IV
Lorazepam | 4 mg | IV
Diazepam | 10 mg | PR""",
    "renal doses": """\
Drug | CrCl >50 | CrCl 10–50 | CrCl <10
Aciclovir | 5 mg/kg q8h | 5 mg/kg q12–24h | 2.5 mg/kg q24h
Piperacillin/tazobactam | 4.5 g q8h | 4.5 g q12h | 4.5 g q12h
Meropenem | 1 g q8h | 1 g q12h | 500 mg q24h
Gentamicin | 5 mg/kg q24h | 3 mg/kg q24–48h | 2 mg/kg q48–72h
Levetiracetam | 500–1500 mg q12h | 250–750 mg q12h | 250–500 mg q12h
Enoxaparin | 1 mg/kg q12h | 1 mg/kg q24h | –
Dabigatran | 150 mg q12h | 110 mg q12h | –
Metformin | 1 g q12h | 500 mg q12h | –""",
    "hepatitis B serology": """\
HBsAg | anti-HBc | IgM anti-HBc | anti-HBs | Meaning
(-) | (-) | (-) | (-) | Susceptible
(-) | (+) | (-) | (+) | Immune, infection
(-) | (-) | (-) | (+) | Immune, vaccine
(+) | (+) | (+) | (-) | Acute
(+) | (+) | (-) | (-) | Chronic
(-) | (+) | (-) | (-) | Unclear
(+) | (-) | (-) | (-) | Early
(-) | (+) | (+) | (-) | Window""",
}
"""By what they are, as a reader writes them: a row is a line with ` | ` between its cells, an item begins with `- `."""
