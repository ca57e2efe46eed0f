// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

/// @title What a Sheaf rollup holds: its types, events, errors and views
/// @notice The entry points are in `IRollup`.
///
/// `H(tag, words..)` is keccak256 of the tag (left-aligned ASCII, one word) and the words, with the top byte cleared. `r` is the order of the BN254
/// groups; a "word" is an integer below `r`. A G1 point is `x, y` (identity: `0, 0`), a G2 point `x.c1, x.c0, y.c1, y.c0`.
interface ILedger {
    // ---------------------------------------------------------------------------------------------------------------------------------------------
    // Types
    // ---------------------------------------------------------------------------------------------------------------------------------------------

    /// @notice The G1 points of a commit (to key, dyn, owner and the quotient) and of a proof (A and C of Groth16, the KZG opening).
    enum Point {
        Key,
        Dyn,
        Owner,
        Quotient,
        A,
        C,
        Opening
    }

    /// @notice How many slots of each kind a circuit has; at least one for deposits, exits and rotations each.
    struct Shape {
        uint32 transfers;
        uint32 accounts;
        uint32 fees;
        uint32 deposits;
        uint32 withdrawals;
        uint32 registers;
        uint32 exits;
        uint32 rotations;
    }

    /// @notice A Groth16 verifying key; alpha and beta are shared by all circuits, gamma is the G2 generator.
    struct VerifyingKey {
        Shape shape;
        /// G2 point.
        uint256[4] delta;
        /// IC_0 .. IC_9, one per public input after the first.
        uint256[20] ic;
    }

    /// @notice Everything a deployment fixes.
    struct Params {
        /// The state has 2^k slots, 16 <= k <= 24.
        uint256 k;
        /// Who may commit, and who earns the fees.
        address operator;
        /// Wei for listing a token.
        uint256 listingFee;
        /// Wei for a queue entry, at most 0.1 ether.
        uint256 queueFee;
        /// Seconds in which a queue entry must be proven.
        uint256 forceTimeout;
        /// Seconds in which a committed batch must be proven.
        uint256 proveTimeout;
        /// G1 point of all keys.
        uint256[2] alpha;
        /// G2 point of all keys.
        uint256[4] beta;
        /// G2 point [tau]_2 of the powers of tau.
        uint256[4] tau;
        /// G1 points [L_0(tau)]_1 for k = 16 .. 24: the first Lagrange polynomial of each size.
        uint256[18] l0;
        /// Circuit id = position here, from 1. At most 8.
        VerifyingKey[] circuits;
    }

    /// @notice An entry of the L1 queue; fields that a kind does not use are 0. Only its hash is stored.
    struct QueueEntry {
        /// 1 deposit, 2 exit, 3 rotation.
        uint8 kind;
        /// Who sent it.
        address sender;
        uint16 token;
        uint112 amount;
        /// Slot of a request.
        uint24 idx;
        /// Owner of the slot a deposit goes to.
        address owner;
        /// Key of the slot a deposit goes to, or a rotation's new key.
        uint256 key;
    }

    /// @notice What the challenges depend on: 14 words.
    struct Header {
        uint256 number;
        uint256 circuit;
        bytes32 oldRoot;
        /// Commitments to key, dyn and owner after the batch.
        uint256[6] commitments;
        /// The circuit's transcript.
        uint256 h;
        /// Digest after the last queue entry taken.
        bytes32 queueDigest;
        /// Queue entries taken.
        uint256 taken;
        /// keccak256(abi.encode(choices, words)).
        bytes32 opsHash;
        /// keccak256 of the posted data.
        bytes32 dataHash;
    }

    /// @notice A header with what the contract computed from it: 18 words, whose keccak256 is the batch hash.
    struct Record {
        Header header;
        /// Commitment to the quotient.
        uint256[2] cq;
        /// Posted words, evaluated at zeta.
        uint256 yDa;
        /// Words of withdrawals and queue entries, evaluated at zeta.
        uint256 yOps;
    }

    /// @notice A withdrawal as three words.
    struct Withdrawal {
        /// from | token << 24 | fee16 << 40, below 2^56.
        uint256 w0;
        /// Below 2^112.
        uint256 amount;
        /// Below 2^160: who is credited.
        uint256 recipient;
    }

    /// @notice What the operator posts.
    struct Commit {
        uint256 number;
        uint256 circuit;
        /// Root after the batch before. `prove` compares it with the state; a batch of another root can only be reverted.
        bytes32 oldRoot;
        uint256[6] commitments;
        uint256 h;
        uint256[2] cq;
        bytes32 queueDigest;
        /// Preimages of the queue entries taken, in queue order.
        QueueEntry[] taken;
        /// One per entry taken: kind | payload << 8. Payload of a deposit: its slot, 0 = to be refunded; of an exit: token | amount << 16, the amount below
        /// 2^112; of a rotation: token. The token of a request is that of its slot, 0 if the slot is empty.
        uint256[] choices;
        Withdrawal[] withdrawals;
        /// Counts nT, nR, nF (2 bytes each), ceil(nT/2) pairs of transfers (26 bytes each), nR registers (62 bytes each: w0 10, key 32, owner 20), nF fee
        /// slots (19 bytes each), big-endian.
        bytes data;
    }

    /// @notice What proves one committed batch.
    struct BatchProof {
        Record record;
        /// A (G1), B (G2), C (G1).
        uint256[8] groth16;
        /// Claims: three words.
        uint256 e;
        uint256 z;
        uint256 delta;
        /// G1 point: the KZG opening at zeta.
        uint256[2] opening;
    }

    // ---------------------------------------------------------------------------------------------------------------------------------------------
    // Events
    // ---------------------------------------------------------------------------------------------------------------------------------------------

    /// @notice An entry joined the queue. The fields are the entry's preimage.
    event Queued(uint256 indexed index, uint8 kind, address indexed sender, uint16 token, uint112 amount, uint24 idx, address owner, uint256 key);
    /// @notice An ERC-20 got a number.
    event TokenListed(uint16 indexed id, address token);
    /// @notice A batch was committed; `root` is the state root it will lead to.
    event Committed(uint256 indexed number, uint256 circuit, bytes32 batchHash, bytes32 root);
    /// @notice A batch was proven; emitted once per batch. `root` is the state root after it.
    event Proven(uint256 indexed number, bytes32 root);
    /// @notice Item `item` of batch `number`, which is proven, became claimable.
    event Credited(address indexed to, uint16 token, uint256 amount, uint256 number, uint256 item);
    /// @notice Entry `index` of the queue went back to who sent it: `amount` became claimable, and after a freeze the queue fee beside it.
    event Refunded(uint256 indexed index, address indexed to, uint16 token, uint256 amount);
    /// @notice The operator took back every batch above `to`; `root` is that of the last one left.
    event Reverted(uint256 to, bytes32 root);
    /// @notice The contract is frozen for ever after this proven batch, in the state of this root.
    event Frozen(uint256 proven, bytes32 root);
    /// @notice What a slot of the frozen state held became claimable.
    event Exited(uint256 indexed idx, address indexed owner, uint16 token, uint256 amount);
    /// @notice Coins left.
    event Claimed(address indexed account, uint16 token, uint256 amount, address to);
    /// @notice The operator's fees left.
    event FeesClaimed(uint256 amount, address to);

    // ---------------------------------------------------------------------------------------------------------------------------------------------
    // Errors: of the constructor
    // ---------------------------------------------------------------------------------------------------------------------------------------------

    /// @notice k is not in 16 .. 24.
    error StateSizeOutOfRange(uint256 k);
    /// @notice The operator is the zero address.
    error OperatorIsZero();
    /// @notice The queue fee exceeds 0.1 ether.
    error QueueFeeTooHigh(uint256 fee);
    /// @notice A time-out is 0 or does not fit 32 bits.
    error TimeoutOutOfRange(uint256 timeout);
    /// @notice There is no circuit, or more than 8.
    error CircuitCountOutOfRange(uint256 count);
    /// @notice The circuit has no slot for deposits, for exits or for rotations, or more than 65,535 of a kind.
    error ShapeNotSupported(uint256 circuit);
    /// @notice delta is gamma, the G2 generator, or its opposite: proofs could be forged.
    error DeltaIsGamma(uint256 circuit);
    /// @notice delta, or its opposite, is that of an earlier circuit: no set-up of a circuit's own gives that.
    error DeltaRepeated(uint256 circuit);
    /// @notice A G1 point of the deployment is off the curve or the identity.
    error UnusableG1Point(uint256 x, uint256 y);
    /// @notice A G2 point of the deployment is off the curve, outside the group of order r, or the identity; or tau is the generator or its opposite.
    error UnusableG2Point(uint256 x1, uint256 x0, uint256 y1, uint256 y0);
    /// @notice The contract that holds the keys could not be created.
    error KeysNotStored();
    /// @notice A BN254 precompile failed though its points were checked: it ran out of gas, or the chain lacks it.
    error PrecompileFailed();

    // ---------------------------------------------------------------------------------------------------------------------------------------------
    // Errors: of entry points
    // ---------------------------------------------------------------------------------------------------------------------------------------------

    /// @notice The contract is frozen: only `settle`, `settleRefunds`, `exit`, `refund`, `claim` and `claimFees` live.
    error IsFrozen();
    /// @notice This is for a frozen contract.
    error NotFrozen();
    /// @notice Nothing is late: until when the queue's first unproven entry and the first committed batch must be proven; 0 if there is none.
    error NothingOverdue(uint256 entryDue, uint256 proofDue);
    /// @notice Called again from within a call.
    error Reentered();
    /// @notice Only the operator may do this.
    error NotOperator();
    /// @notice A commit must be a transaction's outermost call by an account without code, so that its calldata can be found.
    error NotOutermostCall();
    /// @notice The value sent is not the fee (plus, for the native coin, the amount).
    error WrongFee(uint256 sent, uint256 fee);
    /// @notice Not a word in [1, r).
    error KeyOutOfRange(uint256 key);
    /// @notice The owner is the zero address.
    error OwnerIsZero();
    /// @notice The sender's request of this kind for this slot waits in the queue already, at this index.
    error RequestOpen(uint256 index);
    /// @notice Nothing arrived.
    error NothingDeposited();
    /// @notice The token's supply inside the rollup would reach 2^112.
    error SupplyCapReached(uint16 token);
    /// @notice No ERC-20 has this number.
    error TokenNotListed(uint16 token);
    /// @notice The token has a number already.
    error TokenAlreadyListed(uint16 token);
    /// @notice There is no contract at this address.
    error TokenHasNoCode(address token);
    /// @notice All 65,535 numbers are taken.
    error TokenRegistryFull();
    /// @notice The token or the recipient refused the transfer.
    error TransferFailed(uint16 token);

    /// @notice Not the next number.
    error WrongNumber(uint256 number, uint256 expected);
    /// @notice The deployment has no such circuit.
    error UnknownCircuit(uint256 circuit);
    /// @notice A coordinate of a batch's point is not below the field's prime, or the point is off the curve. Number 0: of an exit.
    error PointNotOnCurve(uint256 number, Point point, uint256 x, uint256 y);
    /// @notice The transcript h or a claim is not below r.
    error PublicInputOutOfRange(uint256 value);
    /// @notice A word of the withdrawal at this place (from 0) is too wide: w0 is below 2^56, the amount below 2^112, the recipient below 2^160.
    error WithdrawalOutOfRange(uint256 index, uint256 word);
    /// @notice The entries are not those of the queue at this place, or the digest is another one.
    error QueueMismatch();
    /// @notice Not one choice per entry taken.
    error WrongChoiceCount(uint256 choices, uint256 taken);
    /// @notice The choice's kind is not its entry's.
    error WrongChoiceKind(uint256 choice, uint8 kind);
    /// @notice The choice's token is not below 2^16, or its amount not below 2^112.
    error ChoiceOutOfRange(uint256 choice);
    /// @notice The slot is 0, or not below 2^k.
    error SlotOutOfRange(uint256 slot);
    /// @notice The posted data is not as long as its counts say.
    error WrongDataLength(uint256 length, uint256 expected);
    /// @notice The missing half of the last pair of transfers is not 0.
    error PaddingNotZero();
    /// @notice More transfers than the circuit holds.
    error TooManyTransfers(uint256 count, uint256 capacity);
    /// @notice More registers than the circuit holds.
    error TooManyRegisters(uint256 count, uint256 capacity);
    /// @notice More fee slots than the circuit holds.
    error TooManyFees(uint256 count, uint256 capacity);
    /// @notice More deposits, refunds not counted, than the circuit holds.
    error TooManyDeposits(uint256 count, uint256 capacity);
    /// @notice More forced exits than the circuit holds.
    error TooManyExits(uint256 count, uint256 capacity);
    /// @notice More rotations than the circuit holds.
    error TooManyRotations(uint256 count, uint256 capacity);
    /// @notice More withdrawals than the circuit holds.
    error TooManyWithdrawals(uint256 count, uint256 capacity);

    /// @notice Not a batch to go back to: below the last proven one, or no earlier than the last committed one.
    error RevertOutOfRange(uint256 to, uint256 proven, uint256 committed);

    /// @notice Every batch of the call is proven already.
    error NothingToProve();
    /// @notice The batch is not committed.
    error NotCommitted(uint256 number);
    /// @notice The batch is not proven.
    error NotProven(uint256 number);
    /// @notice The record is not the one stored under its number.
    error RecordMismatch(uint256 number);
    /// @notice The commitments are not those of the state root.
    error OldCommitmentsMismatch();
    /// @notice The batch does not start at the state root.
    error OldRootMismatch(uint256 number);
    /// @notice A proof, a claim or an opening of the call is wrong or belongs to something else, or a commit of the call was not honest. One pairing
    /// check decides about everything at once, so it cannot say which: prove the batches one by one to find the first that fails.
    error ProofInvalid();

    /// @notice choices and words are not those of the record.
    error OperationsMismatch(uint256 number);
    /// @notice The batch has fewer items.
    error ItemOutOfRange(uint256 item, uint256 items);
    /// @notice Every item of the range is settled already.
    error NothingToSettle();
    /// @notice An entry lies outside these: of a batch, or those not proven.
    error EntryOutOfRange(uint256 index, uint256 first, uint256 last);
    /// @notice None of the entries is to be refunded, or each was already.
    error NothingToRefund();
    /// @notice dyn is not below 2^184, or its token is 0: an empty slot.
    error DynOutOfRange(uint256 dyn);
    /// @notice The slot was paid out.
    error AlreadyExited(uint256 idx);
    /// @notice The opening does not show that the slot holds this dyn and owner.
    error OpeningInvalid();
    /// @notice The account has nothing to claim.
    error NothingToClaim();
    /// @notice Coins would go to the zero address.
    error RecipientIsZero();
    /// @notice More would leave than came in: refused whatever was proven.
    error EscrowExceeded(uint16 token, uint256 amount, uint256 escrow);

    // ---------------------------------------------------------------------------------------------------------------------------------------------
    // Views
    // ---------------------------------------------------------------------------------------------------------------------------------------------

    /// @notice H("sheaf.v1", chain id, this contract): what signatures and proofs are bound to.
    function domain() external view returns (uint256);
    /// @notice Root after the last proven batch: keccak256 of k and the six coordinates of the commitments.
    function stateRoot() external view returns (bytes32);
    /// @notice Number of the last committed batch.
    function committed() external view returns (uint256);
    /// @notice Number of the last proven batch.
    function proven() external view returns (uint256);
    /// @notice True once somebody froze the contract.
    function frozen() external view returns (bool);
    /// @notice True if a queue entry went back to who sent it.
    function refunded(uint256 index) external view returns (bool);
    /// @notice True if a slot of the frozen state was paid out.
    function exited(uint256 idx) external view returns (bool);
    /// @notice Time since which committed batches wait for a proof; 0 if none does. A revert leaves it as it is.
    function pendingSince() external view returns (uint256);
    /// @notice The state has 2^k slots.
    function k() external view returns (uint256);
    /// @notice Queue entries so far; they count from 1.
    function queueLength() external view returns (uint256);
    /// @notice Queue entries in committed batches.
    function queueCommitted() external view returns (uint256);
    /// @notice Queue entries in proven batches.
    function queueProven() external view returns (uint256);
    /// @notice Index of the requester's request of this kind for this slot that is not proven yet; 0 if there is none.
    function openRequest(uint8 kind, uint256 idx, address requester) external view returns (uint256 index);
    /// @notice keccak256(digest before, entry hash) after this entry; 0 for index 0.
    function queueDigest(uint256 index) external view returns (bytes32);
    /// @notice Time by which this entry must be proven; 0 for an entry that does not exist. It counts once the entry is the first that is not proven: one that
    /// joined a flood before it may have more time.
    function queueDeadline(uint256 index) external view returns (uint256);
    /// @notice keccak256 of a committed batch's record; kept after its proof.
    function batchHash(uint256 number) external view returns (bytes32);
    /// @notice True if an item of a batch was credited.
    function settled(uint256 number, uint256 item) external view returns (bool);
    /// @notice ERC-20 of a number; 0 for the native coin and for numbers not given.
    function tokenAddress(uint16 token) external view returns (address);
    /// @notice The last number given to a token; 1 while no ERC-20 is listed.
    function lastToken() external view returns (uint16);
    /// @notice Number of an ERC-20; 0 if not listed.
    function tokenId(address erc20) external view returns (uint16);
    /// @notice What an account can claim.
    function claimable(uint16 token, address account) external view returns (uint256);
    /// @notice Coins deposited and not claimed, and queue fees given back.
    function escrow(uint16 token) external view returns (uint256);
    /// @notice Fees that the operator can claim.
    function feesEarned() external view returns (uint256);
    /// @notice Who commits.
    function operator() external view returns (address);
    /// @notice Wei for listing a token.
    function listingFee() external view returns (uint256);
    /// @notice Wei for a queue entry.
    function queueFee() external view returns (uint256);
    /// @notice Seconds in which a queue entry must be proven.
    function forceTimeout() external view returns (uint256);
    /// @notice Seconds in which a committed batch must be proven.
    function proveTimeout() external view returns (uint256);
    /// @notice Waiting queue entries whose deadline may fall into one hour: as many as one batch has room for whatever they are. The largest, over the circuits, of the least
    /// of the slots for deposits, exits, rotations and accounts.
    function queueRate() external view returns (uint256);
    /// @notice How many circuits there are.
    function circuitCount() external view returns (uint256);
    /// @notice The contract whose code holds the keys, see `Keys`.
    function keys() external view returns (address);
}
